"""How policies get their start: tiny ones pretrained on an expert's episodes, larger models fine-tuned on the format.

Files:
    rows.py       an expert's episodes as training rows; house.py, shop.py: what is particular to each world
    loop.py       pretraining; start.py measures what came out; command.py does all of it
    warmstart.py  supervised fine-tuning on well-formed replies; its rows in warmstart_rows.py
    compliance.py how often replies can be read
"""
