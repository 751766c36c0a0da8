"""Window to latents seq (B, L, D) and vec (B, D)."""
