# Names and settings that several files share.

locals {
  labels     = { app = "one-smart-trade", environment = var.environment }
  production = var.environment == "production"
  paper      = var.mode == "paper"

  functions = toset(["ingest", "curate", "classify", "signal", "monitor", "recalibrate", "maintain"])

  interval_s = { "15m" = 900, "30m" = 1800, "1h" = 3600, "4h" = 14400, "1d" = 86400, "1w" = 604800 }
  shortest_s = min([for interval in var.intervals : local.interval_s[interval]]...)

  # A book for each account: the ledger of one must not meet the positions of another.
  book = join("-", compact([var.mode, var.interval, local.paper ? var.paper_account : ""]))

  # The settings of every component (shared/config/default.yaml), as OST_SECTION__KEY. Lists are JSON, which is YAML.
  settings = merge(
    {
      OST_MODE              = var.mode
      OST_INTERVAL          = var.interval
      OST_INTERVALS         = jsonencode(var.intervals)
      OST_UNIVERSE__VENUE   = var.venue
      OST_UNIVERSE__SYMBOLS = jsonencode(var.symbols)
      OST_STORAGE__ROOT     = "gs://${google_storage_bucket.lake.name}"
      OST_BUS__URL          = "pubsub://${var.project_id}"
      OST_SECRETS__URL      = "sm://${var.project_id}"
      OST_JOBS__URL         = "run://${var.project_id}/${var.region}/campaign"
      OST_BOT__MODE         = var.profile
      OST_BOT__CALLERS      = "platform" # Cloud Run asks for their identity (google_cloud_run_v2_service_iam_member.bot_caller)
      OST_BOT__BOOK         = local.book
      GOOGLE_CLOUD_PROJECT  = var.project_id
    },
    var.mode == "live" ? { OST_CONFIRM_LIVE = var.confirm_live } : {},
  )

  # In mode paper everything that asks the venue asks the paper exchange.
  # It is private: they show who they are (exchange_caller in cloudrun.tf says who is admitted).
  venue_settings = local.paper ? {
    OST_VENUE__BASE_URL = google_cloud_run_v2_service.exchange[0].uri
    OST_VENUE__PRIVATE  = "true"
  } : {}
}
