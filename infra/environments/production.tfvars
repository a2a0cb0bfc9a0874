# Production. As it stands it trades on paper; docs/deploy.md says what to change for the testnet and for real money.
environment         = "production"
region              = "europe-west1"
mode                = "paper"
profile             = "stream"
symbols             = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"]
interval            = "1h"
intervals           = ["15m", "30m", "1h", "4h", "1d", "1w"]
bot_cpu             = 1
bot_memory_mib      = 1024
campaign_tasks      = 10
ledger_tier         = "db-custom-1-3840"
ledger_availability = "REGIONAL"
ledger_disk_gib     = 10
deletion_protection = true
noncurrent_days     = 3
monthly_budget      = 300
alert_emails        = ["trading@example.com"] # yours
