# The properties that must hold whatever is changed here. Run: terraform test (no account is needed, nothing is made).

mock_provider "google" {
  override_during = plan

  mock_resource "google_service_account" {
    defaults = {
      email  = "mock@demo-project.iam.gserviceaccount.com"
      member = "serviceAccount:mock@demo-project.iam.gserviceaccount.com"
      name   = "projects/demo-project/serviceAccounts/mock@demo-project.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_cloud_run_v2_service" {
    defaults = { uri = "https://service.run.app" }
  }
  mock_resource "google_pubsub_topic" {
    defaults = { id = "projects/demo-project/topics/mock" }
  }
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

mock_provider "google-beta" {
  override_during = plan

  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:agent@gcp-sa.iam.gserviceaccount.com" }
  }
}

mock_provider "time" {}

variables {
  project_id   = "demo-project"
  environment  = "production"
  alert_emails = ["trading@example.com"]
  archives     = "tests/archives" # empty ones
}

run "production_on_schedule" {
  command = plan

  variables {
    operators         = ["group:trading@example.com"]
    release_builder   = "serviceAccount:ost-build@demo-staging.iam.gserviceaccount.com"
    billing_account   = "012345-6789AB-CDEF01"
    query_lake        = true
    github_repository = null
  }

  # An event that must wait for the book is delivered again for longer than the longest step takes.
  assert {
    condition = (
      4 * tonumber(trimsuffix(google_pubsub_subscription.push["regimes-classified-bot"].retry_policy[0].minimum_backoff, "s")) >= local.bot_timeout_s
      && google_pubsub_subscription.push["regimes-classified-bot"].ack_deadline_seconds > local.bot_timeout_s
    )
    error_message = "A regime that is told while the bot is at work could become a dead letter before the step is over."
  }

  # Nobody without an identity may call anything.
  assert {
    condition = alltrue([
      for member in concat(
        values(google_cloud_run_v2_service_iam_member.function_caller)[*].member, values(google_cloud_run_v2_service_iam_member.bot_caller)[*].member,
        values(google_cloud_run_v2_service_iam_member.exchange_caller)[*].member, values(google_project_iam_member.ledger)[*].member,
        values(google_storage_bucket_iam_member.lake_writer)[*].member, values(google_pubsub_topic_iam_member.publisher)[*].member,
      ) : !contains(["allUsers", "allAuthenticatedUsers"], member)
    ])
    error_message = "allUsers or allAuthenticatedUsers was given a right; every caller must be a named account."
  }
  assert {
    condition = alltrue([
      for service in concat([google_cloud_run_v2_service.bot], google_cloud_run_v2_service.exchange) : service.invoker_iam_disabled != true
    ])
    error_message = "A service does not check who calls it (invoker_iam_disabled)."
  }
  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.function : function.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"])
    error_message = "A function can be reached from outside."
  }

  # Every subscription tries again with patience, never expires, and ends in the dead letters.
  assert {
    condition = alltrue([
      for subscription in concat(values(google_pubsub_subscription.push), [google_pubsub_subscription.book_events_hold, google_pubsub_subscription.secret_rotation_hold, google_pubsub_subscription.dead_letters_hold]) :
      contains(["10s", "75s"], subscription.retry_policy[0].minimum_backoff) && subscription.retry_policy[0].maximum_backoff == "600s" && subscription.expiration_policy[0].ttl == ""
    ])
    error_message = "A subscription has no retry_policy (it would try again without a pause) or expires when idle."
  }
  assert {
    condition = alltrue([
      for subscription in concat(values(google_pubsub_subscription.push), [google_pubsub_subscription.book_events_hold, google_pubsub_subscription.secret_rotation_hold]) :
      length(subscription.dead_letter_policy) == 1
    ])
    error_message = "A subscription other than dead-letters-hold has no dead-letter topic."
  }
  assert {
    condition = alltrue([
      for subscription in google_pubsub_subscription.push :
      subscription.dead_letter_policy[0].max_delivery_attempts == 5 && length(subscription.push_config[0].oidc_token) == 1
    ])
    error_message = "A push has another number of attempts than 5, or no token."
  }
  assert {
    condition = alltrue([
      for name in concat(keys(google_pubsub_subscription.push), ["book-events-hold", "secret-rotation-hold"]) :
      contains(keys(google_pubsub_subscription_iam_member.dead_letter_source), name)
    ])
    error_message = "Pub/Sub may not acknowledge on a subscription with a dead-letter topic: its messages would never get there."
  }
  assert {
    condition = toset(keys(google_pubsub_subscription.push)) == toset([
      "candles-requested-ingest", "candles-ingested-curate", "candles-curated-classify", "regimes-classified-bot", "recalibration-triggered-recalibrate",
    ])
    error_message = "The subscriptions are not those that the components expect."
  }

  assert {
    condition = local.function_pushes == {
      candles-requested-ingest            = { topic = "candles-requested", function = "ingest" }
      candles-ingested-curate             = { topic = "candles-ingested", function = "curate" }
      candles-curated-classify            = { topic = "candles-curated", function = "classify" }
      recalibration-triggered-recalibrate = { topic = "recalibration-triggered", function = "recalibrate" }
    }
    error_message = "An event goes to another function than the one that expects it."
  }
  assert {
    condition     = alltrue([for name, push in local.function_pushes : contains(keys(google_cloud_run_v2_service_iam_member.function_caller), "${push.function} push-invoker")])
    error_message = "Pub/Sub may not call a function to which it pushes."
  }

  # Least privilege.
  assert {
    condition = alltrue([
      for grant in concat(values(google_project_iam_member.ledger), values(google_project_iam_member.build), [google_project_iam_member.function_build_logs, google_project_iam_member.function_build_sources]) :
      !contains(["roles/owner", "roles/editor", "roles/viewer"], grant.role)
    ])
    error_message = "Somebody was given a basic role on the whole project."
  }
  assert {
    condition     = length(google_project_iam_member.build) == 0 && length(google_service_account.build) == 0
    error_message = "Production has an account that builds; it must only accept revisions from staging's."
  }
  assert {
    condition     = alltrue([for grant in google_project_iam_member.ledger : strcontains(grant.condition[0].expression, "projects/demo-project/instances/ledger")])
    error_message = "A right on the ledger is not limited to the ledger."
  }
  assert {
    condition = length(setsubtract(
      toset([for grant in concat(values(google_project_iam_member.ledger), [google_project_iam_member.function_build_logs, google_project_iam_member.function_build_sources]) : grant.role]),
      local.granted_roles,
    )) == 0
    error_message = "The configuration grants a role on the project that its build account may not grant (granted_roles)."
  }
  assert {
    condition     = toset([for grant in values(local.secret_readers) : grant.name]) == toset(["run-bot", "fn-maintain"])
    error_message = "Others than the bot and maintain read secrets."
  }
  assert {
    condition     = alltrue([for name, roles in local.ledger_roles : name == "run-migrate" || !contains(roles, "cloudsqlsuperuser")])
    error_message = "A component other than the migration may change the schema."
  }

  # Nothing that matters can be deleted by a plan.
  assert {
    condition = (
      google_sql_database_instance.ledger.deletion_protection && google_sql_database_instance.ledger.settings[0].deletion_protection_enabled
      && google_cloud_run_v2_service.bot.deletion_protection && !google_storage_bucket.lake.force_destroy
      && alltrue([for secret in google_secret_manager_secret.secret : secret.deletion_protection])
    )
    error_message = "Ledger, bot, lake or secrets are not protected against deletion in production."
  }
  assert {
    condition = (
      google_sql_database_instance.ledger.settings[0].availability_type == "REGIONAL"
      && google_sql_database_instance.ledger.settings[0].backup_configuration[0].point_in_time_recovery_enabled
    )
    error_message = "The ledger of production has no standby or no point-in-time recovery."
  }
  assert {
    condition     = !google_sql_database_instance.ledger.settings[0].ip_configuration[0].ipv4_enabled
    error_message = "The ledger has a public address."
  }

  assert {
    condition = {
      for flag in google_sql_database_instance.ledger.settings[0].database_flags : flag.name => flag.value
      if contains(["cloudsql.iam_authentication", "log_checkpoints", "log_connections", "log_disconnections", "log_lock_waits", "log_hostname", "log_statement", "log_min_error_statement"], flag.name)
      } == {
      "cloudsql.iam_authentication" = "on", "log_checkpoints" = "on", "log_connections" = "on", "log_disconnections" = "on", "log_lock_waits" = "on",
      "log_hostname"                = "on", "log_statement" = "ddl", "log_min_error_statement" = "error",
    }
    error_message = "The ledger takes passwords, or does not log what it must."
  }

  # Secrets are made without values, and come due.
  assert {
    condition     = toset(keys(google_secret_manager_secret.secret)) == toset(["binance-api-key", "binance-api-secret", "jwt-key"])
    error_message = "The secrets are not those that the components read."
  }
  assert {
    condition = alltrue([
      for secret in google_secret_manager_secret.secret : secret.rotation[0].rotation_period == "7776000s" && length(secret.topics) == 1
    ])
    error_message = "A secret does not come due after 90 days, or tells nobody."
  }

  # The venue sees one address.
  assert {
    condition = (
      google_compute_router_nat.main.nat_ip_allocate_option == "MANUAL_ONLY" && length(google_compute_router_nat.main.nat_ips) == 1
      && google_cloud_run_v2_service.bot.template[0].vpc_access[0].egress == "ALL_TRAFFIC"
      && google_cloudfunctions2_function.function["ingest"].service_config[0].direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC"
    )
    error_message = "Bot or ingest would not reach the venue through the static address."
  }

  # Somebody is told, also of silence.
  assert {
    condition = alltrue([
      for name in ["errors", "latency", "ingestion_failures", "problems", "gaps", "drawdown", "halts", "stress", "dead_letters", "secret_rotation"] :
      contains(keys(google_monitoring_alert_policy.threshold), name)
    ])
    error_message = "An alert is missing."
  }
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.absence)) == toset(["heartbeat", "ingestion"])
    error_message = "The absence of heartbeats or of ingestion goes unnoticed."
  }
  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.threshold), values(google_monitoring_alert_policy.absence)) : length(policy.notification_channels) == 1])
    error_message = "An alert has nobody to tell."
  }
  assert {
    condition     = length(google_billing_budget.monthly) == 1
    error_message = "There is no budget although a billing account is named."
  }

  # The schedule profile: nothing runs when nothing happens.
  assert {
    condition = (
      google_cloud_run_v2_service.bot.template[0].scaling[0].min_instance_count == 0
      && google_cloud_run_v2_service.bot.template[0].scaling[0].max_instance_count == 1
      && google_cloud_run_v2_service.bot.template[0].containers[0].resources[0].cpu_idle
    )
    error_message = "The bot of the schedule profile does not scale to zero, or to more than one."
  }
  assert {
    condition     = contains(keys(google_cloud_scheduler_job.job), "bot-step-1h") && contains(keys(google_cloud_scheduler_job.job), "bot-tend") && !contains(keys(google_cloud_scheduler_job.job), "bot-step-15m")
    error_message = "The bot is not started for the interval that it trades, and for that alone."
  }

  assert {
    condition     = length(google_bigquery_table.layer) == 2 && google_bigquery_table.layer["raw"].external_data_configuration[0].source_format == "PARQUET"
    error_message = "The lake cannot be queried."
  }
  assert {
    condition     = google_bigquery_table.layer["raw"].external_data_configuration[0].source_uris == tolist([for interval in var.intervals : "gs://demo-project-ost-lake/raw/*/${interval}/data.parquet"])
    error_message = "The tables of candles read other files as well."
  }
}

run "stream_is_always_on" {
  command = plan

  variables {
    profile = "stream"
  }

  assert {
    condition = (
      google_cloud_run_v2_service.bot.template[0].scaling[0].min_instance_count == 1
      && google_cloud_run_v2_service.bot.template[0].scaling[0].max_instance_count == 1
      && !google_cloud_run_v2_service.bot.template[0].containers[0].resources[0].cpu_idle
    )
    error_message = "The bot of the stream profile is not exactly one instance with its CPU always on."
  }
  assert {
    condition     = !contains(keys(google_pubsub_subscription.push), "regimes-classified-bot") && length([for name, job in google_cloud_scheduler_job.job : name if startswith(name, "bot-")]) == 0
    error_message = "A bot that runs by itself is started from outside as well."
  }
}

run "more_symbols_than_the_paper_exchange_holds_are_refused" {
  command = plan

  variables {
    symbols = [for number in range(36) : "A${number}USDT"]
  }

  expect_failures = [google_cloud_run_v2_service.exchange]
}

run "the_paper_exchange_grows_with_the_symbols" {
  command = plan

  variables {
    symbols = [for number in range(35) : "A${number}USDT"]
  }

  assert {
    condition     = google_cloud_run_v2_service.exchange[0].template[0].containers[0].resources[0].limits["memory"] == "4012Mi"
    error_message = "The bars of 35 symbols do not fit into the paper exchange."
  }
}

run "live_has_no_paper_exchange" {
  command = plan

  variables {
    mode         = "live"
    confirm_live = "I understand that live trading can lose all of my money"
    profile      = "stream"
  }

  assert {
    condition     = length(google_cloud_run_v2_service.exchange) == 0 && google_cloud_run_v2_service.bot.template[0].containers[0].args == tolist(["--live", "--standby"])
    error_message = "Mode live has a paper exchange, or the bot is not told that it trades real money."
  }
}

run "staging_can_be_destroyed_and_builds" {
  command = plan

  variables {
    environment         = "staging"
    deletion_protection = false
    alert_emails        = []
    github_repository   = "example/one-smart-trade"
  }

  assert {
    condition     = !google_sql_database_instance.ledger.deletion_protection && google_storage_bucket.lake.force_destroy
    error_message = "Staging cannot be destroyed."
  }
  assert {
    condition     = alltrue([for grant in google_project_iam_member.build : !contains(["roles/owner", "roles/editor", "roles/viewer"], grant.role)])
    error_message = "The build account has a basic role."
  }
  assert {
    condition     = strcontains(google_project_iam_member.build_grants[0].condition[0].expression, "modifiedGrantsByRole") && !contains(local.granted_roles, "roles/resourcemanager.projectIamAdmin")
    error_message = "The build account could give itself any right."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].attribute_condition == "assertion.repository == 'example/one-smart-trade' && assertion.sub == 'repo:example/one-smart-trade:ref:refs/heads/main'"
    error_message = "Other repositories than the named one, or other refs, may start builds."
  }
  assert {
    condition     = alltrue([for grant in google_storage_bucket_iam_member.github_uploads : grant.bucket == "demo-project-ost-uploads"]) && length(google_storage_bucket_iam_member.github_uploads) == 2
    error_message = "A workflow on GitHub could not upload what is to be built, or could reach another bucket."
  }
}

run "us_region_with_binance_is_refused" {
  command = plan

  variables {
    region = "us-central1"
  }

  expect_failures = [var.region]
}

run "canadian_region_with_binance_is_refused" {
  command = plan

  variables {
    region = "northamerica-northeast1"
  }

  expect_failures = [var.region]
}

run "us_region_with_another_venue_is_accepted" {
  command = plan

  variables {
    region = "us-central1"
    venue  = "krakenfutures"
  }
}

run "production_can_be_taken_down_once_it_is_unprotected" {
  command = plan

  variables {
    deletion_protection = false
  }

  assert {
    condition     = google_storage_bucket.lake.force_destroy && !google_sql_database_instance.ledger.deletion_protection && !google_cloud_run_v2_service.bot.deletion_protection
    error_message = "Production without its protection still cannot be destroyed."
  }
}

run "more_memory_than_a_vcpu_takes_is_refused" {
  command = plan

  variables {
    bot_memory_mib      = 8192
    campaign_memory_mib = 32768
  }

  expect_failures = [var.bot_memory_mib, var.campaign_memory_mib]
}

run "a_machine_that_cloud_sql_does_not_have_is_refused" {
  command = plan

  variables {
    ledger_tier = "db-custom-3-3840"
  }

  expect_failures = [var.ledger_tier]
}

run "an_interval_twice_is_refused" {
  command = plan

  variables {
    intervals = ["1h", "1h"]
  }

  expect_failures = [var.intervals]
}

run "production_that_tells_nobody_is_refused" {
  command = plan

  variables {
    alert_emails = []
  }

  expect_failures = [var.alert_emails]
}

run "real_money_in_staging_is_refused" {
  command = plan

  variables {
    environment  = "staging"
    mode         = "live"
    confirm_live = "I understand that live trading can lose all of my money"
  }

  expect_failures = [var.mode]
}

run "real_money_without_confirmation_is_refused" {
  command = plan

  variables {
    mode = "live"
  }

  expect_failures = [var.confirm_live]
}

run "traded_interval_that_is_not_kept_is_refused" {
  command = plan

  variables {
    intervals = ["4h", "1d"]
  }

  expect_failures = [var.interval]
}

run "the_silence_of_hourly_bars_is_noticed_after_three" {
  command = plan

  variables {
    intervals = ["1h", "4h"]
  }

  assert {
    condition     = google_monitoring_alert_policy.absence["ingestion"].conditions[0].condition_absent[0].duration == "10800s"
    error_message = "The absence of ingestion is told too early or too late."
  }
  assert {
    condition     = toset([for name in keys(google_cloud_scheduler_job.job) : name if startswith(name, "ingest-")]) == toset(["ingest-1h", "ingest-4h"])
    error_message = "Intervals are ingested that are not kept, or not all that are."
  }
}

run "bars_of_a_day_alone_are_refused" {
  command = plan

  variables {
    interval  = "1d"
    intervals = ["1d"]
  }

  expect_failures = [var.intervals]
}

run "public_operator_is_refused" {
  command = plan

  variables {
    operators = ["allUsers"]
  }

  expect_failures = [var.operators]
}

run "more_connections_than_the_ledger_has_are_refused" {
  command = plan

  variables {
    campaign_tasks         = 40
    ledger_max_connections = 50
  }

  expect_failures = [google_sql_database_instance.ledger]
}
