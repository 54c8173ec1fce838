//! How each proxy is told what to do: one worker, keep-alive to the origin, no access log, the same certificate.

use std::path::Path;

use super::super::load::PROXY_CORE;
use super::super::rules;
use super::{Front, Peer, Rig, Scheme, nginx_folders, origin_address};
use crate::lab::{EDGE_ATTACK, EDGE_CLIENT};

impl Rig {
    pub(super) fn nginx_proxy(&self, peer: Peer, rules: Option<&Path>) -> String {
        let (name, word) = (self.folder.display(), peer.word());
        let (module, engine) = rules.map(rules::nginx).unwrap_or_default();
        format!(
            "{module}daemon off; worker_processes 1; pid {name}/{word}.pid;
error_log {name}/{word}.err error;
events {{ worker_connections 32768; }}
http {{ access_log off; keepalive_requests 100000000; {engine}
  {temporary}
  upstream origin {{ server {origin}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen {http} backlog=4096; listen {https} ssl http2 backlog=4096;
    ssl_certificate {name}/cert.pem; ssl_certificate_key {name}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; }}
  }} }}\n",
            temporary = nginx_folders(&self.folder, word),
            http = self.address(peer, Scheme::Http),
            https = self.address(peer, Scheme::Https),
            origin = origin_address(self.lab.as_ref()),
        )
    }

    pub(super) fn haproxy(&self) -> String {
        format!(
            "global\n  nbthread 1\n  maxconn 30000\n  no strict-limits\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n
defaults\n  mode http\n  timeout client 300s\n  timeout server 30s\n  timeout connect 5s\n  http-reuse always
  option forwardfor\n
frontend web\n  bind {http}\n  bind {https} ssl crt {folder}/both.pem alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n  default_backend origin\n
backend origin\n  server one {origin}\n",
            http = self.address(Peer::Haproxy, Scheme::Http),
            https = self.address(Peer::Haproxy, Scheme::Https),
            origin = origin_address(self.lab.as_ref()),
            folder = self.folder.display(),
        )
    }

    /// As an operator would measure it: everybody may ask as often as they like, and nothing is written about it.
    pub(super) fn secbeat(&self, peer: Peer) -> String {
        let rules = if peer.has_rules() { rules::secbeat() } else { String::new() };
        let io = match (self.front, &self.lab) {
            (Front::Xdp, Some(lab)) => format!(
                "driver = \"xdp\"\ninterfaces = [\"{EDGE_ATTACK}\", \"{EDGE_CLIENT}\"]\nattach = \"native\"\n\
                 cores = [{PROXY_CORE}]\npin_dir = {:?}",
                lab.state.bpf().join("secbeat")
            ),
            _ => "driver = \"socket\"".to_owned(),
        };
        format!(
            "[server]\nmode = \"l7\"\nworker_threads = 1\nmax_connections = 30000\nstate_dir = \"{folder}/{word}-state\"\n
[io]\n{io}\nsnat_ports = \"10000-20000\"\n
[tls]\ncert_path = \"{folder}/cert.pem\"\nkey_path = \"{folder}/key.pem\"
source_handshake_rate = 0\nworker_handshake_rate = 0\n
[limits]\nsource_rate = 0\nsource_connections = 0\n
[waf]\nrate_limit_rps = 0\n{rules}
[http]\nmax_requests = 0\n
[access_log]\npath = \"off\"\n
[metrics]\nbind_address = \"127.0.0.1:{api}\"\n
[logging]\nformat = \"pretty\"\n
[[listeners]]\nname = \"http\"\nbind_address = \"{http}\"\ntls = false\n
[[listeners]]\nname = \"https\"\nbind_address = \"{https}\"\ntls = true\n
[[backends]]\nname = \"origin\"\naddress = \"{origin}\"\n",
            http = self.address(peer, Scheme::Http),
            https = self.address(peer, Scheme::Https),
            origin = origin_address(self.lab.as_ref()),
            api = peer.api(),
            word = peer.word(),
            folder = self.folder.display(),
        )
    }
}
