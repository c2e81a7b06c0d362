"""The served model afterwards: its log, its traffic, and whether the pictures still look like the test images."""
