//! Configurations of nginx and HAProxy in the edge of the lab, as their manuals advise for a fast server: one worker,
//! keep-alive to the origin, no access log. Paths of everything they write lie in the lab's folder.

use std::path::Path;

use super::super::rules;
use crate::lab::{Lab, ORIGIN, VIP4, VIP6};

fn head(lab: &Lab, modules: &str) -> String {
    let folder = lab.state.files();
    let folder = folder.display();
    format!(
        "{modules}daemon off; worker_processes 1; pid {folder}/defender.pid;
error_log {folder}/../logs/defender.err error;
events {{ worker_connections 32768; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type text/html; server_tokens off;
  client_body_temp_path {folder}/defender-body; proxy_temp_path {folder}/defender-proxy;
  fastcgi_temp_path {folder}/defender-fastcgi; uwsgi_temp_path {folder}/defender-uwsgi;
  scgi_temp_path {folder}/defender-scgi;
"
    )
}

/// nginx that has the page itself: nothing but the kernel's TCP is in front of it.
pub(super) fn nginx_listener(lab: &Lab) -> String {
    format!(
        "{}  server {{ listen {VIP4}:80 backlog=16384; listen [{VIP6}]:80 backlog=16384; root {}/www;
    location ~ \\.bin$ {{ types {{ }} default_type application/octet-stream; }} }}\n}}\n",
        head(lab, ""),
        lab.state.files().display()
    )
}

/// nginx in front of the origin, with a rule set or without.
pub(super) fn nginx_proxy(lab: &Lab, path: Option<&Path>) -> String {
    let (module, engine) = path.map(rules::nginx).unwrap_or_default();
    format!(
        "{}  {engine}
  upstream origin {{ server {}:80; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen {VIP4}:80 backlog=16384; listen [{VIP6}]:80 backlog=16384;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}
  }}\n}}\n",
        head(lab, &module),
        ORIGIN.far4(),
    )
}

/// HAProxy that looks at nothing above TCP.
pub(super) fn haproxy() -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 20000\n  no strict-limits\n
defaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n
frontend web\n  bind {VIP4}:80 backlog 16384\n  bind [{VIP6}]:80 backlog 16384\n  default_backend origin\n
backend origin\n  server one {}:80\n",
        ORIGIN.far4()
    )
}
