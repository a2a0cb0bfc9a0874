# The ledger: PostgreSQL 15 on a private address, and no password anywhere: every component logs in as its service account.
# An intent is committed before its order is sent, and is worth what this database's commit is worth: production has a synchronous
# standby (REGIONAL), backups, and the log to go back to any second of a week.

locals {
  # Component -> connections of one instance, how many each part of it keeps (setting ledger.connections), most instances. A function
  # has two parts (ledger, research), the bot two (trader or trading requests, API). During a rollout two revisions of it run at once.
  ledger_pools = merge(
    { for name, function in local.function : "fn-${name}" => { pool = 2, of_part = 1, instances = function.instances } },
    {
      run-bot      = { pool = 4, of_part = 2, instances = 2 }
      run-campaign = { pool = 2, of_part = 2, instances = var.campaign_tasks } # one campaign at a time: `recalibrate` lets the others wait
      run-migrate  = { pool = 1, of_part = 1, instances = 1 }
    },
  )
  ledger_connections = sum([for pool in local.ledger_pools : pool.pool * pool.instances])
  ledger_reserved    = 10 # for Google's own processes, and a person in an emergency

  # Reading and writing every table, but neither making nor dropping one: that is for the migration.
  ledger_roles = {
    for name in keys(local.ledger_pools) : name => name == "run-migrate" ? ["cloudsqlsuperuser"] : ["pg_read_all_data", "pg_write_all_data"]
  }

  # PostgreSQL knows a service account by its address without the ending.
  ledger_user = { for name in keys(local.ledger_pools) : name => trimsuffix(google_service_account.component[name].email, ".gserviceaccount.com") }

  # The settings with which a component finds the ledger.
  ledger_settings = {
    for name in keys(local.ledger_pools) : name => {
      OST_LEDGER__CONNECTIONS = tostring(local.ledger_pools[name].of_part)
      OST_LEDGER__URL         = "cloudsql://${local.ledger_user[name]}@${google_sql_database_instance.ledger.connection_name}/${google_sql_database.ledger.name}"
    }
  }

  # Everybody may log in to this one instance, and to no other in the project.
  ledger_condition = "resource.type == \"sqladmin.googleapis.com/Instance\" && resource.name == \"projects/${var.project_id}/instances/ledger\""
}

resource "google_sql_database_instance" "ledger" {
  name                = "ledger"
  database_version    = "POSTGRES_15"
  region              = var.region
  deletion_protection = var.deletion_protection

  settings {
    tier                        = var.ledger_tier
    edition                     = "ENTERPRISE"
    availability_type           = var.ledger_availability
    disk_type                   = "PD_SSD"
    disk_size                   = var.ledger_disk_gib
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection # also against the console and gcloud
    retain_backups_on_delete    = var.deletion_protection
    connector_enforcement       = "REQUIRED" # only the connector's short-lived certificates, whoever has the address

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = local.production ? 30 : 7
      }
    }

    maintenance_window {
      day          = 6 # Saturday, between the closes of a 4h and a 1d bar
      hour         = 5
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    dynamic "database_flags" {
      for_each = {
        "cloudsql.iam_authentication"         = "on"
        "max_connections"                     = tostring(var.ledger_max_connections)
        "idle_in_transaction_session_timeout" = "60000" # ms: a frozen process gives its locks back
        "log_checkpoints"                     = "on"
        "log_connections"                     = "on"
        "log_disconnections"                  = "on"
        "log_duration"                        = "off"
        "log_hostname"                        = "on"
        "log_lock_waits"                      = "on"
        "log_min_duration_statement"          = "-1" # no statement texts with their values in the logs
        "log_min_error_statement"             = "error"
        "log_min_messages"                    = "warning"
        "log_statement"                       = "ddl"
        "log_temp_files"                      = "0"
      }
      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }

  lifecycle {
    ignore_changes = [settings[0].disk_size] # it grows by itself

    precondition {
      condition     = local.ledger_connections <= var.ledger_max_connections - local.ledger_reserved
      error_message = "The pools of all components take up to ${local.ledger_connections} connections (${join(", ", [for name, pool in local.ledger_pools : "${name} ${pool.pool} x ${pool.instances}"])}), and ledger_max_connections is ${var.ledger_max_connections}, of which ${local.ledger_reserved} are reserved. Raise ledger_max_connections (and ledger_tier), or lower campaign_tasks."
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "ledger" {
  name            = "ledger"
  instance        = google_sql_database_instance.ledger.name
  deletion_policy = "ABANDON" # it goes with the instance, never alone
}

resource "google_sql_user" "component" {
  for_each = local.ledger_pools

  name            = local.ledger_user[each.key]
  instance        = google_sql_database_instance.ledger.name
  type            = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles  = local.ledger_roles[each.key]
  deletion_policy = "ABANDON" # PostgreSQL refuses to drop a user that owns tables
}

resource "google_project_iam_member" "ledger" {
  for_each = {
    for pair in setproduct(keys(local.ledger_pools), ["roles/cloudsql.client", "roles/cloudsql.instanceUser"]) : join(" ", pair) => pair
  }

  project = var.project_id
  role    = each.value[1]
  member  = local.account[each.value[0]]

  condition {
    title      = "ledger_only"
    expression = local.ledger_condition
  }
}
