"""Colours and markers that everyone can tell apart."""

# Okabe & Ito 2008: eight colours that stay distinct with every common colour vision.
OKABE_ITO: dict[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "bluish green": "#009E73",
    "vermillion": "#D55E00",
    "sky blue": "#56B4E9",
    "reddish purple": "#CC79A7",
    "black": "#000000",
    "yellow": "#F0E442",
}

# As many shapes as classes in CIFAR-10: with the colours, every class is told apart twice.
MARKERS: list[str] = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "*"]
