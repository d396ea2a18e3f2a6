"""AvatarZoo: a PyTorch Lightning model zoo of photoreal head avatars."""

__version__ = "0.1.0"
