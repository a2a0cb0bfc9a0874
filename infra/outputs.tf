# What a person needs after an apply.

output "egress_address" {
  description = "The address that the venue sees: bind the API key of the exchange account to it."
  value       = google_compute_address.egress.address
}

output "bot_url" {
  description = "The bot, for those in operators: gcloud run services proxy bot --region REGION"
  value       = google_cloud_run_v2_service.bot.uri
}

output "exchange_url" {
  description = "The paper exchange; null outside mode paper."
  value       = local.paper ? google_cloud_run_v2_service.exchange[0].uri : null
}

output "function_urls" {
  description = "The functions, which only Pub/Sub and Cloud Scheduler may call."
  value       = { for name, function in google_cloudfunctions2_function.function : name => function.service_config[0].uri }
}

output "lake" {
  description = "Where the candles are."
  value       = "gs://${google_storage_bucket.lake.name}"
}

output "ledger" {
  description = "Connection name of the ledger: PROJECT:REGION:INSTANCE."
  value       = google_sql_database_instance.ledger.connection_name
}

output "registry" {
  description = "Where images are pushed."
  value       = local.registry
}

output "schedules" {
  description = "What runs when (UTC)."
  value       = { for name, job in local.jobs_of_profile : name => "${job.cron} -> ${job.target}" }
}

output "secrets_to_fill" {
  description = "Commands that give the secrets their values, those of the exchange before its mode is chosen. Terraform never sees them."
  value = [
    for secret in keys(local.secrets) : "gcloud secrets versions add ${secret} --project ${var.project_id} --data-file -"
  ]
}

output "ledger_connections" {
  description = "Connections that all components can take together, of ledger_max_connections."
  value       = "${local.ledger_connections} of ${var.ledger_max_connections - local.ledger_reserved}"
}

output "dashboard" {
  description = "The dashboard."
  value       = "https://console.cloud.google.com/monitoring/dashboards?project=${var.project_id}"
}

output "build_account" {
  description = "The account that builds and deploys (staging only); name it in release_builder of production."
  value       = local.builds ? google_service_account.build[0].member : null
}

output "github_provider" {
  description = "workload_identity_provider of google-github-actions/auth; null without github_repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "github_account" {
  description = "service_account of google-github-actions/auth; null without github_repository."
  value       = one(google_service_account.github[*].email)
}
