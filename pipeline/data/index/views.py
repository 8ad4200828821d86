"""The three adapter views of a window; texts and lists are those of the published contract."""

from __future__ import annotations

from pipeline.data.index.record import (
    AdapterViews,
    CosmosView,
    Frames,
    Media,
    PolicyView,
    QwenView,
    SensorFeatures,
    Span,
)

#: What each branch still owes before it can train on the index; goes into the manifest.
ADAPTER_CONTRACTS = {
    "qwen3_omni_lora": "implemented by current JSON-QA train/eval scripts",
    "cosmos_world_model": "requires future-window target exporter and world-model evaluator",
    "policy_vla_branch": "requires action-space conversion and policy evaluator",
}


def conditioning(
    media: Media,
    features: SensorFeatures,
    *,
    question: str | None,
    action: str | None,
    next_action: str | None,
) -> tuple[str, ...]:
    """The conditioning a world model really has in this window, in the contract's order."""
    present = (
        ("video", media.mosaic_video_path or media.video_streams),
        ("audio", media.audio_path),
        ("sensor_features", features.path),
        ("language", question),
        ("action_label", action not in (None, "unknown")),
        ("next_action_label", next_action not in (None, "unknown")),
    )
    return tuple(name for name, there in present if there)


def make_views(window: Frames, media: Media, available: tuple[str, ...], *, messages: bool) -> AdapterViews:
    """The views of one window.

    Args:
        window: the labelled frames.
        media: its media, for the context.
        available: from `conditioning`.
        messages: whether the dataset row holds chat messages.
    """
    context = media.context_window
    return AdapterViews(
        qwen3_omni_lora=QwenView(
            sample_contract="video/audio/text/messages -> strict JSON answer",
            messages_available=messages,
            direct_modalities=("mosaic_video", "audio", "language_prompt"),
            bridged_modalities=("sensor_features_npz",),
        ),
        cosmos_world_model=CosmosView(
            sample_contract="context window + conditioning -> future state target",
            context_window=Span(context.start_frame, context.end_frame),
            available_conditioning=available,
            candidate_targets=(
                "future_window",
                "future_sensor_features",
                "transition",
                "contact",
                "next_action",
            ),
            requires_new_exporter=True,
        ),
        policy_vla_branch=PolicyView(
            sample_contract="observation + instruction/context -> action or motion target",
            observation_window=window,
            candidate_targets=(
                "action",
                "next_action",
                "contact",
                "objects",
                "hand_trajectory_chunk",
                "retargeted_action_token",
            ),
            requires_action_space_design=True,
        ),
    )
