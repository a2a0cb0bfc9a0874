# One network: private addresses inside, one static address towards the venue.
# The API key of the exchange account is bound to that address (output egress_address).

resource "google_compute_network" "main" {
  name                    = "ost"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "main" {
  name                     = "ost"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/22" # an instance of Cloud Run takes an address, and keeps it for minutes after its end
  private_ip_google_access = true          # storage and Pub/Sub are reached inside Google, not through the NAT and its price per GiB
}

resource "google_compute_address" "egress" {
  name   = "ost-egress"
  region = var.region
}

resource "google_compute_router" "main" {
  name    = "ost"
  network = google_compute_network.main.id
  region  = var.region
}

resource "google_compute_router_nat" "main" {
  name                               = "ost"
  router                             = google_compute_router.main.name
  region                             = var.region
  nat_ip_allocate_option             = "MANUAL_ONLY" # an address of Google's choice would be refused by the venue
  nat_ips                            = [google_compute_address.egress.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.main.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY" # dropped connections, not every one: those logs are charged
  }
}

# Nothing inside listens for others; this says it aloud and logs who tries.
resource "google_compute_firewall" "no_ingress" {
  name          = "ost-no-ingress"
  network       = google_compute_network.main.id
  direction     = "INGRESS"
  priority      = 65000
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "EXCLUDE_ALL_METADATA"
  }
}

# The private address of the ledger is in a network of Google's that is peered with ours.
resource "google_compute_global_address" "services" {
  name          = "ost-services"
  network       = google_compute_network.main.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  address       = "10.9.0.0"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
  deletion_policy         = "ABANDON" # Google refuses to end it for hours after the last ledger is gone
  depends_on              = [google_project_service.api]
}
