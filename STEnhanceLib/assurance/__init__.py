"""What can be trusted of a result: how much of each voxel the measurement supports."""
