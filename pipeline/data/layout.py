"""Names inside one episode's folder and inside its annotation (formats sections 1.1-1.3). Light to import."""

from __future__ import annotations

from typing import Final

ANNOTATION: Final = "annotation.hdf5"

#: The six cameras in the order of the mosaic's tiles.
VIDEOS: Final = (
    "fisheye_cam0.mp4",
    "fisheye_cam1.mp4",
    "fisheye_cam2.mp4",
    "fisheye_cam3.mp4",
    "stereo_left.mp4",
    "stereo_right.mp4",
)

#: The camera whose sound is read; an episode without it is of no use.
MAIN_VIDEO: Final = VIDEOS[0]

FILES: Final = (ANNOTATION, *VIDEOS)

#: A file for a viewer that no training may read.
VIEWER_FILE: Final = "visualization.rrd"

#: Nominal frames per second of every camera and of the annotation.
FPS: Final = 20.0

#: Manifest flag -> HDF5 path whose existence it states; the eleven flags in the published order.
MODALITIES: Final = {
    "calibration": "calibration",
    "slam_pose": "slam/quat_wxyz",
    "slam_point_cloud": "slam/point_cloud",
    "depth": "depth/depth",
    "depth_confidence": "depth/confidence",
    "hand_mocap": "hand_mocap/left_joints_3d",
    "body_mocap": "full_body_mocap/keypoints",
    "contacts": "full_body_mocap/contacts",
    "imu": "imu/accel_xyz",
    "caption": "caption",
    "captions": "captions",
}

#: Arrays of gigabytes, which are only ever read by rows.
LARGE: Final = frozenset({"depth/depth", "depth/confidence"})
