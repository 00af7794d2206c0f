"""Initial policies: tiny ones pretrained on expert episodes, and larger models fine-tuned on the reply format.

Files:
    rows.py            expert episodes as training rows
    world.py           what pretraining needs from an environment
    house.py, shop.py  the same for ALFWorld and for WebShop
    loop.py            pretraining, and its recipes
    start.py           success and admissible actions of a new tiny policy
    command.py         `actre pretrain-tiny`: all steps in order
    warmstart.py       supervised fine-tuning on well-formed replies
    warmstart_rows.py  its rows
    expert_play.py     the experts on a panel, for supervised training on one order
    compliance.py      how often replies follow the format
"""
