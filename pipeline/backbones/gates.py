"""The checkpoint gates a contract may name: one line each on what a checkpoint must prove.

A contract that names another gate is not valid, so no branch can be claimed through a check nobody wrote.
"""

from __future__ import annotations

#: Name -> what is proved.
CHECKPOINT_GATES = {
    "lora_safetensors_shape_check": "every adapter tensor is 2-D, not empty, finite, and fits its base",
    "lora_safetensors_shape_check_and_load_smoke": "the same, and the adapter loads into its base",
    "base_weight_vllm_reasoner_setup_metadata": "the server's model and settings are on record",
    "world_model_checkpoint_and_generation_config": "checkpoint and configuration hash as the manifest says",
    "policy_checkpoint_action_space_and_normalizer": "checkpoint, action space and normalizer agree",
}
