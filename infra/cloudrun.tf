# The bot, and the paper exchange that it trades on in mode paper.
# Terraform makes them and owns their settings; the image and the traffic belong to the releases (cloudbuild.yaml, the release
# controller), so an apply never moves a production onto other code.

locals {
  image         = coalesce(var.image, "${local.registry}/one-smart-trade:latest")
  bot_timeout_s = 300

  # The paper exchange lays the candles below market/ in the lake's bucket around the present, follows the clock, and makes the
  # longer intervals from the shortest. Its account is an object beside them, so it survives every restart and every release.
  paper_object = "exchange/account-${var.paper_account}.json"
  # It holds the bars of all symbols: of 15m, the shortest, at most 100 MiB each (measured). One vCPU has 4 GiB at most.
  paper_symbols    = 35
  paper_memory_mib = max(1024, 512 + 100 * length(var.symbols))
  finest_interval  = [for interval, seconds in local.interval_s : interval if seconds == local.shortest_s][0]

  # Revisions of a service must run for a whole life of a WebSocket connection: Cloud Run ends requests after an hour at most.
  exchange_timeout_s = 3600
  paper_settings = local.paper ? {
    OST_STREAM__ROTATE_AFTER_S = tostring(local.exchange_timeout_s - 300)
  } : {}
}

resource "google_cloud_run_v2_service" "bot" {
  name                = "bot"
  location            = var.region
  description         = "Trades one book; API and status for people"
  deletion_protection = var.deletion_protection
  # People reach it from their machines, with their identity (gcloud run services proxy bot): nobody else has the right to.
  ingress = "INGRESS_TRAFFIC_ALL"

  template {
    service_account                  = google_service_account.component["run-bot"].email
    timeout                          = "${local.bot_timeout_s}s"
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = 8

    scaling {
      min_instance_count = var.profile == "stream" ? 1 : 0
      max_instance_count = 1 # a book has one writer; a second instance could only wait for its lease
    }

    containers {
      image   = local.image
      command = ["python", "-m", "cloudrun.bot"]
      # Two revisions never trade one book: the newer one waits until the lease of the older one is free, also without traffic.
      args = concat(var.mode == "live" ? ["--live"] : [], var.profile == "stream" ? ["--standby"] : [])

      ports {
        container_port = 8080
      }

      resources {
        limits            = { cpu = tostring(var.bot_cpu), memory = "${var.bot_memory_mib}Mi" }
        cpu_idle          = var.profile == "schedule" # stream: the trader works between requests
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.settings, local.venue_settings, local.paper_settings, local.ledger_settings["run-bot"])
        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 3
        timeout_seconds   = 3
        failure_threshold = 40

        http_get {
          path = "/healthz"
        }
      }

      liveness_probe {
        period_seconds    = 15
        timeout_seconds   = 5
        failure_threshold = 4

        http_get {
          path = "/healthz"
        }
      }
    }

    vpc_access {
      egress = "ALL_TRAFFIC" # the venue must see the static address

      network_interfaces {
        network    = google_compute_network.main.id
        subnetwork = google_compute_subnetwork.main.id
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version, traffic, template[0].containers[0].image, template[0].labels, template[0].revision]
  }

  depends_on = [google_compute_router_nat.main, google_artifact_registry_repository.main]
}

resource "google_cloud_run_v2_service_iam_member" "bot_caller" {
  for_each = merge(
    { for name in(var.profile == "schedule" ? ["push-invoker", "scheduler-invoker"] : []) : name => local.account[name] },
    { for member in var.operators : member => member },
    local.builds ? { ost-build = google_service_account.build[0].member } : {},
  )

  location = var.region
  name     = google_cloud_run_v2_service.bot.name
  role     = "roles/run.invoker"
  member   = each.value
}

resource "google_cloud_run_v2_service" "exchange" {
  count = local.paper ? 1 : 0

  name                = "exchange"
  location            = var.region
  description         = "The paper exchange: recorded candles, Binance's interface"
  deletion_protection = false # its account is in the bucket
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"

  template {
    service_account                  = google_service_account.component["run-exchange"].email
    timeout                          = "${local.exchange_timeout_s}s"
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = 100

    scaling {
      min_instance_count = 1
      max_instance_count = 1 # one account; during a release the newer instance takes it over
    }

    containers {
      image   = local.image
      command = ["python", "-m", "cloudrun.exchange"]
      args = concat(
        ["--market", "/lake/market", "--interval", local.finest_interval, "--host", "0.0.0.0", "--port", "8080", "--real-time"],
        ["--account", "gs://${google_storage_bucket.lake.name}/${local.paper_object}"],
        ["--symbols"], var.symbols,
      )

      ports {
        container_port = 8080
      }

      resources {
        limits   = { cpu = "1", memory = "${local.paper_memory_mib}Mi" }
        cpu_idle = false # the market moves between requests
      }

      volume_mounts {
        name       = "lake"
        mount_path = "/lake"
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 60

        tcp_socket {
          port = 8080
        }
      }
    }

    volumes {
      name = "lake"

      gcs {
        bucket    = google_storage_bucket.lake.name
        read_only = true
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

  lifecycle {
    ignore_changes = [client, client_version, template[0].containers[0].image, template[0].labels, template[0].revision]

    precondition {
      condition     = length(var.symbols) <= local.paper_symbols
      error_message = "symbols names ${length(var.symbols)}; the paper exchange of mode paper holds the bars of ${local.paper_symbols} at most. Name fewer, or use mode testnet."
    }
  }

  depends_on = [google_artifact_registry_repository.main, google_storage_bucket_iam_member.lake_reader, google_storage_bucket_iam_member.paper_account]
}

resource "google_cloud_run_v2_service_iam_member" "exchange_caller" {
  for_each = toset(local.paper ? ["run-bot", "fn-ingest", "fn-maintain"] : [])

  location = var.region
  name     = google_cloud_run_v2_service.exchange[0].name
  role     = "roles/run.invoker"
  member   = local.account[each.key]
}
