"""Motion between images: diffeomorphic registration by instance optimisation, without training."""

STIFFNESS = 0.01  # suits hearts, see `registration.register`
