"""What a scanner measures: k-space crops, Cartesian masks, radial spokes, coils and noise."""
