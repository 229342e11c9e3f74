"""Settings, errors, types, blobs, pictures, the doorbell: what every room stands on."""
