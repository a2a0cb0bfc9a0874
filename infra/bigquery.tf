# The lake as SQL: external tables read the Parquet files where they are, so nothing is copied and nothing is stored twice.
# The path of a file says what it holds; the views cut it into columns:
#   SELECT symbol, MAX(open_time) FROM lake.raw_candles WHERE interval_name = '1h' GROUP BY symbol

locals {
  lake_layers = toset(var.query_lake ? ["raw", "curated"] : [])
}

resource "google_bigquery_dataset" "lake" {
  dataset_id                 = "lake"
  location                   = var.region
  description                = "Raw and curated candles of the lake"
  delete_contents_on_destroy = true # tables and views only; the files are not theirs
  depends_on                 = [google_project_service.api]
}

resource "google_bigquery_table" "layer" {
  for_each = local.lake_layers

  dataset_id          = google_bigquery_dataset.lake.dataset_id
  table_id            = "${each.key}_files"
  description         = "Every ${each.key} file of candles"
  deletion_protection = false

  external_data_configuration {
    autodetect    = true # Parquet files carry their columns
    source_format = "PARQUET"
    # Interval by interval: funding and open interest lie beside the candles and have other columns, and those of one file count for all.
    source_uris = [for interval in var.intervals : "gs://${google_storage_bucket.lake.name}/${each.key}/*/${interval}/data.parquet"]
  }
}

resource "google_bigquery_table" "candles" {
  for_each = local.lake_layers

  dataset_id          = google_bigquery_dataset.lake.dataset_id
  table_id            = "${each.key}_candles"
  description         = "The same with venue, symbol and interval, from the paths"
  deletion_protection = false

  view {
    use_legacy_sql = false
    query          = <<-SQL
      SELECT
        REGEXP_EXTRACT(_FILE_NAME, r'/${each.key}/([^/]+)/') AS venue,
        REGEXP_EXTRACT(_FILE_NAME, r'/${each.key}/[^/]+/([^/]+)/') AS symbol,
        REGEXP_EXTRACT(_FILE_NAME, r'/${each.key}/[^/]+/[^/]+/([^/]+)/') AS interval_name,
        *
      FROM `${var.project_id}.${google_bigquery_dataset.lake.dataset_id}.${google_bigquery_table.layer[each.key].table_id}`
    SQL
  }
}

resource "google_bigquery_dataset_iam_member" "operator" {
  for_each = toset(var.operators)

  dataset_id = google_bigquery_dataset.lake.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.key
}

resource "google_storage_bucket_iam_member" "operator" {
  for_each = toset(var.operators)

  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectViewer"
  member = each.key
}
