"""Metrics a contract may name as primary: it cannot promise a number nobody defined."""

from __future__ import annotations

#: Name -> definition in a line.
METRICS = {
    "json_validity_rate": "share of answers with all seven fields",
    "action_macro_f1": "unweighted mean F1 of the action over all options",
    "action_accuracy": "share of right actions",
    "subtask_accuracy": "share of exact subtasks, known ones only",
    "transition_accuracy": "share of right transition answers",
    "next_action_accuracy": "share of exact next actions, known ones only",
    "contact_accuracy": "share of right contact answers",
    "object_micro_f1": "pooled F1 of object names",
    "object_affordance_f1": "pooled F1 of the objects touched",
    "future_retrieval_mrr": "mean reciprocal rank of the true future",
    "future_retrieval_recall_at_5": "share of true futures among the five nearest",
    "temporal_consistency": "share whose nearest future is of the same episode",
    "feature_reconstruction_error": "mean distance of predicted features, per root dimension",
    "test_forward_dynamics_mse": "mean velocity loss on the test split",
    "val_forward_dynamics_mse": "mean velocity loss on the validation split",
    "train_final_loss": "loss of the last training step",
    "adapter_parameter_numel": "numbers in the adapter",
    "trajectory_mpjpe": "mean joint distance along predicted trajectories",
    "held_out_episode_count": "episodes the numbers are from",
}
