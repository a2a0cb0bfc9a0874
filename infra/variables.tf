# Every choice that a person makes. The files in environments/ make them; the defaults are those of a small production.

variable "project_id" {
  description = "Google Cloud project in which everything is made. One project per environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is \"${var.project_id}\"; expected a project id: 6 to 30 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "environment" {
  description = "staging (paper exchange, may be destroyed) or production (protected against deletion)."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment is \"${var.environment}\"; expected staging or production."
  }
}

variable "region" {
  description = "Region of everything. Requests to the venue leave from here, so the venue must serve its country."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region is \"${var.region}\"; expected a Google Cloud region such as europe-west1."
  }

  validation {
    condition     = !(startswith(var.venue, "binance") && startswith(var.region, "us-"))
    error_message = "region is ${var.region} and the venue is ${var.venue}: Binance answers HTTP 451 to requests from the United States. Choose a region outside the US, e.g. europe-west1 or asia-northeast1."
  }

  validation {
    condition     = !(startswith(var.venue, "binance") && startswith(var.region, "northamerica-northeast"))
    error_message = "region is ${var.region} and the venue is ${var.venue}: Binance does not serve Canada. Choose another region, e.g. europe-west1 or asia-northeast1."
  }
}

variable "venue" {
  description = "Venue in ccxt's spelling (universe.venue). The paper exchange of mode paper speaks the same interface."
  type        = string
  default     = "binanceusdm"

  validation {
    condition     = can(regex("^[a-z0-9]{3,30}$", var.venue))
    error_message = "venue is \"${var.venue}\"; expected ccxt's spelling, e.g. binanceusdm."
  }
}

variable "mode" {
  description = "paper (the paper exchange, which is deployed as well), testnet (the venue's demo) or live (real money)."
  type        = string
  default     = "paper"

  validation {
    condition     = contains(["paper", "testnet", "live"], var.mode)
    error_message = "mode is \"${var.mode}\"; expected paper, testnet or live."
  }

  validation {
    condition     = !(var.mode == "live" && var.environment == "staging")
    error_message = "mode is live in staging; staging never trades real money. Use paper or testnet, or environment production."
  }
}

variable "paper_account" {
  description = "Name of the account on the paper exchange (mode paper), and part of the name of its book: another name begins both anew."
  type        = string
  default     = "1"

  validation {
    condition     = can(regex("^[a-z0-9]{1,16}$", var.paper_account))
    error_message = "paper_account is \"${var.paper_account}\"; expected 1 to 16 lower-case letters and digits."
  }
}

variable "confirm_live" {
  description = "Mode live also needs this sentence (setting confirm_live): I understand that live trading can lose all of my money"
  type        = string
  default     = ""

  validation {
    condition     = var.mode != "live" || var.confirm_live == "I understand that live trading can lose all of my money"
    error_message = "mode is live without its confirmation; set confirm_live = \"I understand that live trading can lose all of my money\"."
  }
}

variable "profile" {
  description = "schedule: the bot is started for each bar and scales to zero. stream: it always runs, on the venue's streams."
  type        = string
  default     = "schedule"

  validation {
    condition     = contains(["schedule", "stream"], var.profile)
    error_message = "profile is \"${var.profile}\"; expected schedule (scale to zero) or stream (always on)."
  }
}

variable "symbols" {
  description = "The universe, in the venue's spelling."
  type        = list(string)
  default     = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"]

  validation {
    condition     = length(var.symbols) > 0 && length(distinct(var.symbols)) == length(var.symbols)
    error_message = "symbols must name at least one symbol, and each only once."
  }

  validation {
    condition     = alltrue([for symbol in var.symbols : can(regex("^[A-Z0-9]{3,30}(_[0-9]{6})?$", symbol))])
    error_message = "symbols holds ${join(", ", [for symbol in var.symbols : symbol if !can(regex("^[A-Z0-9]{3,30}(_[0-9]{6})?$", symbol))])}; expected the venue's spelling, e.g. BTCUSDT."
  }
}

variable "interval" {
  description = "The bars that decisions are made on (setting interval)."
  type        = string
  default     = "1h"

  validation {
    condition     = contains(var.intervals, var.interval)
    error_message = "interval is ${var.interval}, which is not among intervals (${join(", ", var.intervals)}): the lake would not hold the bars that are traded."
  }
}

variable "intervals" {
  description = "The bars that the lake keeps (setting intervals)."
  type        = list(string)
  default     = ["15m", "30m", "1h", "4h", "1d", "1w"]

  validation {
    condition     = length(setsubtract(var.intervals, ["15m", "30m", "1h", "4h", "1d", "1w"])) == 0 && length(var.intervals) > 0
    error_message = "intervals is [${join(", ", var.intervals)}]; expected some of 15m, 30m, 1h, 4h, 1d, 1w."
  }

  validation {
    condition     = length(distinct(var.intervals)) == length(var.intervals)
    error_message = "intervals is [${join(", ", var.intervals)}]; name each only once."
  }

  validation {
    condition     = length(setintersection(var.intervals, ["15m", "30m", "1h", "4h"])) > 0
    error_message = "intervals is [${join(", ", var.intervals)}]; keep at least one of 15m, 30m, 1h, 4h: Cloud Monitoring notices a silence of a day at most."
  }
}

variable "image" {
  description = "Image of bot and exchange at their creation; afterwards releases change it, not Terraform. null: the newest in the registry."
  type        = string
  default     = null
}

variable "archives" {
  description = "Folder with the archives of the functions (make dist), from the root of this configuration."
  type        = string
  default     = "../dist/functions"
}

variable "bot_cpu" {
  description = "vCPUs of the bot."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4], var.bot_cpu)
    error_message = "bot_cpu is ${var.bot_cpu}; expected 1, 2 or 4: CPU that is always on needs a whole one."
  }
}

variable "bot_memory_mib" {
  description = "Memory of the bot, MiB."
  type        = number
  default     = 1024

  validation {
    condition     = var.bot_memory_mib >= 512 && var.bot_memory_mib <= 8192
    error_message = "bot_memory_mib is ${var.bot_memory_mib}; expected 512 to 8192."
  }

  validation {
    condition     = var.bot_memory_mib <= 4096 * var.bot_cpu && (var.bot_cpu < 4 || var.bot_memory_mib >= 512 * var.bot_cpu)
    error_message = "bot_memory_mib is ${var.bot_memory_mib} with bot_cpu ${var.bot_cpu}; Cloud Run gives a vCPU at most 4096 MiB, and wants 512 for each of four."
  }
}

variable "campaign_tasks" {
  description = "Instances among which a campaign is divided."
  type        = number
  default     = 10

  validation {
    condition     = var.campaign_tasks >= 1 && var.campaign_tasks <= 100 && floor(var.campaign_tasks) == var.campaign_tasks
    error_message = "campaign_tasks is ${var.campaign_tasks}; expected a whole number from 1 to 100."
  }
}

variable "campaign_cpu" {
  description = "vCPUs of each instance of a campaign."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2, 4, 8], var.campaign_cpu)
    error_message = "campaign_cpu is ${var.campaign_cpu}; expected 1, 2, 4 or 8."
  }
}

variable "campaign_memory_mib" {
  description = "Memory of each instance of a campaign, MiB."
  type        = number
  default     = 4096

  validation {
    condition     = var.campaign_memory_mib >= 512 && var.campaign_memory_mib <= 32768
    error_message = "campaign_memory_mib is ${var.campaign_memory_mib}; expected 512 to 32768."
  }

  validation {
    condition     = var.campaign_memory_mib <= 4096 * var.campaign_cpu && (var.campaign_cpu < 4 || var.campaign_memory_mib >= 512 * var.campaign_cpu)
    error_message = "campaign_memory_mib is ${var.campaign_memory_mib} with campaign_cpu ${var.campaign_cpu}; Cloud Run gives a vCPU at most 4096 MiB, and wants 512 for each of four or eight."
  }
}

variable "ledger_tier" {
  description = "Machine of the ledger: db-f1-micro, db-g1-small or db-custom-VCPUS-MIB."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    condition     = can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.ledger_tier))
    error_message = "ledger_tier is \"${var.ledger_tier}\"; expected db-f1-micro, db-g1-small or db-custom-VCPUS-MIB."
  }

  validation {
    condition = alltrue([
      for size in [[for number in regexall("[0-9]+", var.ledger_tier) : tonumber(number)]] :
      (size[0] == 1 || size[0] % 2 == 0) && size[1] % 256 == 0 && size[1] >= 3840 && size[1] >= 922 * size[0] && size[1] <= 6656 * size[0]
      if startswith(var.ledger_tier, "db-custom-")
    ])
    error_message = "ledger_tier is \"${var.ledger_tier}\"; Cloud SQL takes 1 or an even number of vCPUs, and from 3840 MiB on whole 256 MiB, 0.9 to 6.5 GiB for each vCPU."
  }
}

variable "ledger_availability" {
  description = "REGIONAL: a synchronous standby in another zone takes over. ZONAL: half the price, minutes to hours without a ledger."
  type        = string
  default     = "REGIONAL"

  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.ledger_availability)
    error_message = "ledger_availability is \"${var.ledger_availability}\"; expected ZONAL or REGIONAL."
  }
}

variable "ledger_disk_gib" {
  description = "Disk of the ledger at the start, GiB. It grows by itself and never shrinks."
  type        = number
  default     = 10

  validation {
    condition     = var.ledger_disk_gib >= 10 && var.ledger_disk_gib <= 1000
    error_message = "ledger_disk_gib is ${var.ledger_disk_gib}; expected 10 to 1000."
  }
}

variable "ledger_max_connections" {
  description = "Connections that the ledger takes. The pools of all components together must stay below."
  type        = number
  default     = 100

  validation {
    condition     = var.ledger_max_connections >= 25 && var.ledger_max_connections <= 1000
    error_message = "ledger_max_connections is ${var.ledger_max_connections}; expected 25 to 1000."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the ledger, the bot, the lake and the secrets. In production false only on the way back to zero (docs/deploy.md)."
  type        = bool
  default     = true
}

variable "noncurrent_days" {
  description = "Days for which overwritten raw bars and other objects are kept. Overwritten curated frames, which can be made again, are not."
  type        = number
  default     = 3

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 90
    error_message = "noncurrent_days is ${var.noncurrent_days}; expected 1 to 90."
  }
}

variable "query_lake" {
  description = "Make the BigQuery tables over the lake. BigQuery reads their columns from the files: turn this on once the lake holds some."
  type        = bool
  default     = false
}

variable "secret_rotation_days" {
  description = "After so many days a secret is due for rotation."
  type        = number
  default     = 90

  validation {
    condition     = var.secret_rotation_days >= 1 && var.secret_rotation_days <= 365
    error_message = "secret_rotation_days is ${var.secret_rotation_days}; expected 1 to 365."
  }
}

variable "alert_emails" {
  description = "Who is told when something is wrong."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails holds ${join(", ", var.alert_emails)}; expected e-mail addresses."
  }

  validation {
    condition     = length(var.alert_emails) > 0 || var.environment == "staging"
    error_message = "alert_emails is empty in production; name at least one address, or nobody hears of a halted bot."
  }
}

variable "alerts" {
  description = "Limits beyond which somebody is told."
  type = object({
    errors_per_minute  = optional(number, 5)
    request_p95_s      = optional(number, 60)
    heartbeat_absent_s = optional(number, 300)
    ingestion_absent_s = optional(number) # null: three of the shortest interval
    gap_hours          = optional(number, 1)
    event_age_s        = optional(number, 900)
    ledger_disk_share  = optional(number, 0.8)
    ledger_cpu_share   = optional(number, 0.9)
    connection_share   = optional(number, 0.8)
    failed_ingestions  = optional(number, 0)
  })
  default = {}

  validation {
    condition     = alltrue([for seconds in compact([var.alerts.heartbeat_absent_s, var.alerts.ingestion_absent_s]) : seconds >= 180 && seconds <= 84600 && seconds % 60 == 0])
    error_message = "alerts.heartbeat_absent_s and ingestion_absent_s must be whole minutes from 180 to 84600 s: Cloud Monitoring takes no others."
  }
}

variable "billing_account" {
  description = "Billing account for the budget alert, e.g. 012345-6789AB-CDEF01. null: no budget is made."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account must look like 012345-6789AB-CDEF01; see: gcloud billing accounts list."
  }
}

variable "monthly_budget" {
  description = "Monthly budget in the currency of the billing account: told at 50, 90 and 100 %, and when the forecast exceeds it."
  type        = number
  default     = 200

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget is ${var.monthly_budget}; expected a whole number from 1 on."
  }
}

variable "operators" {
  description = "Who may open the bot, read its events and replay dead letters, e.g. group:trading@example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", member))])
    error_message = "operators holds ${join(", ", var.operators)}; expected user:, group: or serviceAccount: and an address. The bot is never public."
  }
}

variable "release_builder" {
  description = "Build account of staging that may put a new revision, without traffic, into this production: serviceAccount:ost-build@STAGING.iam.gserviceaccount.com."
  type        = string
  default     = null

  validation {
    condition     = var.release_builder == null || can(regex("^serviceAccount:[^@ ]+@[^@ ]+[.]gserviceaccount[.]com$", var.release_builder))
    error_message = "release_builder must be serviceAccount: and the address of a service account."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows may start builds, without any key (workload identity). null: none may."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must look like OWNER/NAME."
  }
}

variable "github_ref" {
  description = "The only ref of that repository that may start builds."
  type        = string
  default     = "refs/heads/main"

  validation {
    condition     = startswith(var.github_ref, "refs/")
    error_message = "github_ref is \"${var.github_ref}\"; expected a full ref such as refs/heads/main."
  }
}
