"""From boxes to tracks: association, re-identification and shots."""
