# What this configuration needs, and where its state is.
# The state lives in a bucket of its own, named at init: -backend-config="bucket=PROJECT-ost-state" -backend-config="prefix=ENVIRONMENT".

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
    # Only for google_project_service_identity, which the provider above does not have.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 8.0"
    }
    # Only for the pause before the alerts on new metrics.
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }

  backend "gcs" {}
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = local.labels
  # Budgets are asked for on behalf of this project, not of the caller's.
  billing_project       = var.project_id
  user_project_override = true
}

provider "google-beta" {
  project = var.project_id
  region  = var.region
}
