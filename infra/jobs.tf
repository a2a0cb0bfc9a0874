# What runs to an end: the instances of a campaign, and the migration of the ledger.
# Instances refuse a campaign that other code has planned (cloudrun/campaign). The function `recalibrate` plans, and is deployed by an
# apply; so an apply brings the job to the image that was built with that function's archive: the image has the archive's name as a tag.

locals {
  campaign_image = "${local.registry}/one-smart-trade:${trimsuffix(local.archive["recalibrate"], ".zip")}"

  jobs = {
    campaign = {
      command = ["python", "-m", "cloudrun.campaign"]
      args    = [] # the id of a campaign, given by whoever starts it
      tasks   = var.campaign_tasks
      cpu     = var.campaign_cpu
      memory  = var.campaign_memory_mib
      timeout = "21600s"
      retries = 3
    }
    migrate = {
      command = ["python", "-m", "shared.cli.main"]
      args    = ["db", "migrate"]
      tasks   = 1
      cpu     = 1
      memory  = 512
      timeout = "600s"
      retries = 0
    }
  }
}

resource "google_cloud_run_v2_job" "job" {
  for_each = local.jobs

  name                = each.key
  location            = var.region
  deletion_protection = false

  template {
    task_count  = each.value.tasks
    parallelism = each.value.tasks

    template {
      service_account       = google_service_account.component["run-${each.key}"].email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = each.value.retries
      timeout               = each.value.timeout

      containers {
        image   = local.campaign_image
        command = each.value.command
        args    = each.value.args

        resources {
          limits = { cpu = tostring(each.value.cpu), memory = "${each.value.memory}Mi" }
        }

        dynamic "env" {
          for_each = merge(local.settings, local.ledger_settings["run-${each.key}"])
          content {
            name  = env.key
            value = env.value
          }
        }
      }

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = google_compute_network.main.id
          subnetwork = google_compute_subnetwork.main.id
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, template[0].labels]
  }

  depends_on = [google_artifact_registry_repository.main]
}

# `recalibrate` starts a campaign with its id as argument, and asks how it goes.
resource "google_cloud_run_v2_job_iam_member" "campaign_starter" {
  for_each = toset(["roles/run.jobsExecutorWithOverrides", "roles/run.viewer"])

  location = var.region
  name     = google_cloud_run_v2_job.job["campaign"].name
  role     = each.key
  member   = local.account["fn-recalibrate"]
}
