"""The tools of a teacher for a course: editions of the notebooks, a bundle for places without a network, a check of a
machine, and the marking of answers."""
