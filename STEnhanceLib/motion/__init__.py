"""Motion between images: diffeomorphic registration by instance optimisation, without training."""
