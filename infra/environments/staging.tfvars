# Staging: the paper exchange, nothing that must survive. `terraform destroy` removes all of it.
environment         = "staging"
region              = "europe-west1"
mode                = "paper"
profile             = "schedule"
symbols             = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"]
interval            = "1h"
intervals           = ["15m", "30m", "1h", "4h", "1d", "1w"]
bot_cpu             = 1
bot_memory_mib      = 1024
campaign_tasks      = 4
ledger_tier         = "db-custom-1-3840"
ledger_availability = "ZONAL"
ledger_disk_gib     = 10
deletion_protection = false
noncurrent_days     = 1
monthly_budget      = 150
alert_emails        = []
