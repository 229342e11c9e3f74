"""Fine-tuning: pictures in, varied batches, ArcFace, the choice of an epoch, a checkpoint out."""
