"""Initial policies: tiny ones pretrained on expert episodes, and larger models fine-tuned on the reply format.

Files:
    rows.py            expert episodes as training rows
    world.py           what pretraining needs from an environment
    house.py, shop.py  the same for ALFWorld and for WebShop
    recipes.py         what determines a tiny policy; the organisms' dials
    loop.py            pretraining
    muon.py            its optimizer for matrices
    card.py            a policy's made.json and README.md
    start.py           success and admissible actions of a new tiny policy
    command.py         `actre pretrain-tiny`: all steps in order
    warmstart.py       supervised fine-tuning on well-formed replies
    warmstart_rows.py  its rows
    fine_tune.py       its training; packed_sft.py: the same on a CPU, through packed rows
    expert_play.py     the experts on a panel, for supervised training on one order
    compliance.py      how often replies follow the format
"""
