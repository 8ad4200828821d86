"""Two evaluations of the same questions side by side: what changed, and is it more than chance?"""
