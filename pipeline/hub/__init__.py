"""The Hugging Face Hub side: listing, selection, access, downloads."""
