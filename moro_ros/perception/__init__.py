"""The default eyes: BlazePose keypoints and a causal multi-person tracker."""
