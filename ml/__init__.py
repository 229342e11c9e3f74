"""The model: EfficientNetV2 and ArcFace, training, evaluation, and the embedder that workers run."""
