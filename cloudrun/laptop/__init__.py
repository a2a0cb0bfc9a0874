"""The cloud on a laptop, as real processes (`make up`): what Terraform makes in the cloud stands here on loopback."""
