#!/usr/bin/env python3
"""Writes ordinary/*.jsonl: requests that a WAF must let pass. The same seed gives the same files.

    tests/waf/corpus/make_ordinary.py [--seed N]

One request per line: {"id", "class", "method", "uri", "headers": [[name, value], ...], "body" or "body_base64"}. The
class `code` is source code and SQL in posts of a forum: ordinary too, but no pattern can tell it from an attack, so it is
counted apart. Content-Length is added by whoever sends a request. Names, addresses and keys are invented.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import random
import re
import struct
import zlib
from urllib.parse import quote, quote_plus, urlencode

import vocabulary as words

HOSTS = "www.example.com shop.example.org api.example.net forum.example.org cdn.example.com app.example.io".split()
HERE = pathlib.Path(__file__).parent


class Maker:
    """Draws everything from one random generator."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.requests = []

    def pick(self, items):
        return self.random.choice(items)

    def number(self, low, high):
        return self.random.randint(low, high)

    def some(self, percent):
        return self.random.random() * 100 < percent

    def fill(self, text):
        filled = re.sub(r"\{(\w+)\}", lambda m: self.pick(words.LISTS[m[1]]) if m[1] in words.LISTS else m[0], text)
        return filled.replace("{{", "{").replace("}}", "}")

    def sentence(self):
        kind = self.random.random()
        source = words.ENGLISH if kind < 0.6 else words.GERMAN if kind < 0.8 else words.CHINESE if kind < 0.92 else words.OTHER
        return self.fill(self.pick(source))

    def prose(self, most=5):
        gap = self.pick([" ", " ", "\r\n", "\r\n\r\n"])
        return gap.join(self.sentence() for _ in range(self.number(1, most)))

    def query(self):
        return self.fill(self.pick(words.QUERIES))

    def person(self):
        first, last = self.pick(words.LISTS["first"]), self.pick(words.LISTS["last"])
        plain = "".join(c for c in f"{first}.{last}".lower() if c.isascii() and (c.isalnum() or c in ".-"))
        return first, last, f"{plain}{self.pick(['', '+shop', '_82', str(self.number(1, 99))])}@{self.pick(HOSTS)[4:]}"

    def phone(self):
        n = self.number
        return self.pick([f"+44 (0)20 7{n(100, 999)} {n(1000, 9999)}", f"0{n(30, 911)}/{n(10000, 9999999)}",
                          f"({n(201, 989)}) {n(200, 999)}-{n(1000, 9999)}", f"+86-138{n(10000000, 99999999)}",
                          f"+49 {n(151, 179)} {n(1000000, 9999999)}", f"tel:{n(1000000, 9999999)};ext={n(1, 99)}"])

    def token(self, size=16):
        return self.random.randbytes(size).hex()

    def b64(self, size=24, url=False):
        raw = self.random.randbytes(size)
        return (base64.urlsafe_b64encode(raw).rstrip(b"=") if url else base64.b64encode(raw)).decode()

    def uuid(self):
        t = self.token()
        return f"{t[:8]}-{t[8:12]}-4{t[13:16]}-a{t[17:20]}-{t[20:32]}"

    def jwt(self):
        part = lambda d: base64.urlsafe_b64encode(json.dumps(d).encode()).rstrip(b"=").decode()  # noqa: E731
        return ".".join([part({"alg": "RS256", "typ": "JWT", "kid": self.token(4)}),
                         part({"sub": self.uuid(), "name": self.person()[0], "exp": self.number(1_700_000_000, 1_800_000_000)}),
                         self.b64(64, True)])

    def time(self):
        n = self.number
        return f"20{n(20, 26)}-{n(1, 12):02}-{n(1, 28):02}T{n(0, 23):02}:{n(0, 59):02}:{n(0, 59):02}.{n(0, 999):03}Z"

    def price(self):
        return self.number(99, 99999) / 100

    def cookie(self):
        n = self.number
        choices = [
            lambda: f"_ga=GA1.1.{n(10**8, 10**9)}.{n(1600000000, 1720000000)}",
            lambda: f"_ga_{self.token(5).upper()}=GS1.1.{n(1600000000, 1720000000)}.{n(1, 40)}.1.{n(1600000000, 1720000000)}.{n(0, 60)}.0.0",
            lambda: f"_fbp=fb.1.{n(10**12, 10**13)}.{n(10**8, 10**9)}",
            lambda: f"PHPSESSID={self.token(13)}", lambda: f"JSESSIONID={self.token().upper()}.node{n(1, 9)}",
            lambda: f"csrftoken={self.b64(48, True)}", lambda: f"session={self.jwt()}",
            lambda: f"ASP.NET_SessionId={self.token(12)}", lambda: f"connect.sid=s%3A{self.b64(24, True)}.{quote(self.b64(32))}",
            lambda: f"CookieConsent={{stamp:%27{quote(self.b64(20))}%27%2Cnecessary:true%2Cpreferences:false%2Cver:1%2Cutc:{n(10**12, 10**13)}%2Cregion:%27de%27}}",
            lambda: f"euconsent-v2=CP{self.b64(60, True)}.{self.b64(40, True)}",
            lambda: f"OptanonConsent=isGpcEnabled=0&datestamp=Tue+May+{n(1, 28)}+2024+{n(10, 23)}%3A{n(10, 59)}%3A09+GMT%2B0200+(Central+European+Summer+Time)&version=202{n(1, 4)}04.1.0&hosts=&groups=C0001%3A1%2CC0002%3A0",
            lambda: f"intercom-id-abc={self.uuid()}", lambda: "lang=de-DE", lambda: f"theme={self.pick(['dark', 'light'])}",
            lambda: f"cart=%7B%22items%22%3A%5B%7B%22id%22%3A{n(1, 999)}%2C%22q%22%3A{n(1, 9)}%7D%5D%7D",
            lambda: f"wordpress_logged_in_{self.token()}={self.person()[0].encode('ascii', 'ignore').decode().lower()}%7C{n(1600000000, 1720000000)}%7C{self.b64(32, True)}%7C{self.token(32)}",
            lambda: f"laravel_session={quote(base64.b64encode(json.dumps({'iv': self.b64(16), 'value': self.b64(90), 'mac': self.token(32)}).encode()).decode())}",
            lambda: f"__cf_bm={self.b64(32, True)}-{n(1600000000, 1720000000)}-1.0.1.1-{self.b64(40, True)}",
            lambda: f"_gcl_au=1.1.{n(10**8, 10**9)}.{n(1600000000, 1720000000)}", lambda: f"_hjSessionUser_{n(10**5, 10**6)}={self.b64(60)}",
            lambda: f"ajs_anonymous_id=%22{self.uuid()}%22", lambda: f"mp_{self.token()}_mixpanel=%7B%22distinct_id%22%3A%20%22{self.uuid()}%22%2C%22%24device_id%22%3A%20%22{self.uuid()}%22%2C%22%24initial_referrer%22%3A%20%22%24direct%22%7D",
            lambda: f"last_search={quote_plus(self.query())}", lambda: f"amp_{self.token(3)}={self.b64(20, True)}...1g{self.token(4)}.{self.token(4)}.0.0.0",
            lambda: f"sid=\"{self.token(10)}\"", lambda: f"AWSALB={self.b64(90)}", lambda: f"viewed={n(1, 999)}|{n(1, 999)}|{n(1, 999)}",
            lambda: f"tz=Europe/Berlin", lambda: f"geo=48.13{n(10, 99)},11.57{n(10, 99)}", lambda: f"utm=src=newsletter&med=email&cmp=spring_{n(20, 26)}",
        ]
        return self.pick(choices)()

    def headers(self, host=None, agent=None, extra=(), cookies=40):
        host = host or self.pick(HOSTS)
        found = [["Host", host], ["User-Agent", agent or self.pick(words.AGENTS)]]
        found.append(["Accept", self.pick(["*/*", "application/json", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"])])
        if self.some(70):
            found.append(["Accept-Language", self.pick(["en-GB,en;q=0.9", "de-DE,de;q=0.8,en;q=0.5", "zh-CN,zh;q=0.9", "fr;q=0.7"])])
        if self.some(50):
            where = self.pick(["/", "/search?q=" + quote_plus(self.query()), "/a/b.html", f"/p/{self.number(1, 9999)}?utm_source=mail&utm_content=it%27s"])
            found.append(["Referer", f"https://{self.pick([host, 'www.google.com', 't.co'])}{where}"])
        if self.some(cookies):
            found.append(["Cookie", "; ".join(self.cookie() for _ in range(self.number(1, 9)))])
        if self.some(25):
            found += [["Sec-Fetch-Mode", "navigate"], ["Sec-CH-UA", '"Chromium";v="126", "Not/A)Brand";v="8"'], ["Sec-CH-UA-Platform", '"Windows"']]
        if self.some(8):
            found.append(["X-Requested-With", "XMLHttpRequest"])
        return found + [list(field) for field in extra]

    def add(self, kind, method, uri, headers, body=None, content_type=None):
        request = {"id": f"{kind}-{sum(r['class'] == kind for r in self.requests) + 1:04}", "class": kind, "method": method,
                   "uri": uri, "headers": headers}
        if content_type:
            request["headers"] = headers + [["Content-Type", content_type]]
        if isinstance(body, bytes):
            request["body_base64"] = base64.b64encode(body).decode()
        elif body is not None:
            request["body"] = body
        self.requests.append(request)

    def form(self, kind, uri, fields, **more):
        self.add(kind, "POST", uri, self.headers(**more), urlencode(fields), "application/x-www-form-urlencoded")

    def json(self, kind, method, uri, value, content_type="application/json", **more):
        text = json.dumps(value, ensure_ascii=self.some(40), indent=self.pick([None, None, 2]))
        self.add(kind, method, uri, self.headers(**more), text, content_type)


def search(m):
    style = m.number(0, 7)
    q = m.query() if m.some(75) else m.sentence()
    code = m.pick([quote_plus, quote])
    uri = [lambda: f"/search?q={code(q)}", lambda: f"/s?k={code(q)}&ref=nb_sb_noss_{m.number(1, 2)}&page={m.number(1, 40)}",
           lambda: f"/suche?suchbegriff={code(q)}&kategorie={code(m.fill('{noun} & {noun}'))}&sort=preis_asc&filter%5Bfarbe%5D%5B%5D={m.fill('{colour}')}",
           lambda: f"/api/suggest?term={code(q[:12])}&limit=10&callback=jQuery{m.number(10**9, 10**10)}_{m.number(10**12, 10**13)}&_={m.number(10**12, 10**13)}",
           lambda: f"/products?category={code(m.fill('{noun}'))}&min={m.number(1, 50)}&max={m.number(60, 900)}&color={m.fill('{colour}')},{m.fill('{colour}')}&q={code(q)}",
           lambda: f"/hotels/{code(m.fill('{city}'))}?checkin=2025-0{m.number(1, 9)}-1{m.number(0, 9)}&nights={m.number(1, 14)}&guests=2&q={code(q)}",
           lambda: f"/maps/search/{quote(q, safe='')}/@52.52{m.number(100, 999)},13.40{m.number(100, 999)},{m.number(3, 18)}z",
           lambda: f"/forum/search.php?keywords={code(q)}&terms=all&author={code(m.person()[1])}&sc=1&sf=all&sr=posts&sk=t&sd=d&st=0&ch=300&t=0&submit=Search"][style]()
    m.add("search", "GET", uri, m.headers())


def contact_form(m):
    first, last, mail = m.person()
    fields = {"first_name": first, "last_name": last, "email": mail, "phone": m.phone(), "message": m.prose()}
    shapes = [lambda: fields, lambda: {"name": f"{first} {last}", "company": m.fill("{company}"), "subject": m.sentence()[:70], "text": m.prose(8), "_token": m.token(20), "consent": "on"},
              lambda: {"contact[name]": f"{last}, {first}", "contact[mail]": mail, "contact[body]": m.prose(), "g-recaptcha-response": m.b64(120, True)},
              lambda: {"vorname": first, "nachname": last, "strasse": m.fill("{street}"), "ort": m.fill("{city}"), "telefon": m.phone(), "nachricht": m.prose(), "datenschutz": "1"},
              lambda: {"rating": m.number(1, 5), "title": m.sentence()[:60], "review": m.prose(6), "nickname": f"{first}_{m.number(1, 99)}", "recommend": "yes"},
              lambda: {"comment": m.prose(4), "author": f"{first} {last}", "url": "https://" + m.pick(HOSTS), "comment_post_ID": m.number(1, 999), "comment_parent": 0}]
    m.form("form", m.pick(["/contact", "/kontakt", "/feedback.php", "/reviews/new", "/comment", "/support/tickets"]), m.pick(shapes)())


def checkout(m):
    first, last, mail = m.person()
    fields = {"billing_first_name": first, "billing_last_name": last, "billing_company": m.fill("{company}"), "billing_address_1": m.fill("{street}"),
              "billing_city": m.fill("{city}"), "billing_postcode": m.pick(["SW1A 1AA", "20095", "10001-1234", "100000"]), "billing_phone": m.phone(), "billing_email": mail,
              "order_comments": m.sentence(), "payment_method": m.pick(["paypal", "stripe", "invoice"]), "coupon": m.pick(["", "SAVE-10%", "X'MAS24", "2FOR1"]),
              "qty[]": m.number(1, 9), "price": m.fill("{price}"), "terms": "on", "total": m.price()}
    keep = {k: v for k, v in fields.items() if m.some(80)}
    m.form("form", m.pick(["/checkout", "/cart/update", "/?wc-ajax=checkout", "/kasse/adresse", "/account/address"]), keep)


def login(m):
    _, _, mail = m.person()
    secret = m.fill(m.pick(words.PASSWORDS)) if m.some(80) else "".join(chr(m.number(33, 126)) for _ in range(m.number(8, 20)))
    shapes = [{"username": mail, "password": secret, "remember": "1"}, {"log": mail, "pwd": secret, "wp-submit": "Log In", "redirect_to": "/wp-admin/"},
              {"user[email]": mail, "user[password]": secret, "user[password_confirmation]": secret, "authenticity_token": m.b64(64)},
              {"j_username": mail, "j_password": secret}, {"email": mail, "old": secret, "new": secret[::-1]}]
    if m.some(30):
        m.json("login", "POST", "/api/v1/auth/login", {"email": mail, "password": secret, "device": m.uuid()})
    else:
        m.form("login", m.pick(["/login", "/wp-login.php", "/users/sign_in", "/account/password"]), m.pick(shapes))


def post(m):
    text = m.fill("\r\n\r\n".join(m.pick(words.MARKDOWN) for _ in range(m.number(1, 3)))) + "\r\n" + m.prose(3)
    if m.some(50):
        m.json("post", m.pick(["POST", "PATCH"]), f"/api/posts/{m.number(1, 9999)}/comments", {"body": text, "parent": None, "tags": [m.fill("{noun}"), m.fill("{colour}")]})
    else:
        m.form("post", m.pick(["/posts", "/forum/reply.php", "/wiki/edit"]), {"title": m.sentence()[:80], "body": text, "preview": "", "topic": m.number(1, 99999), "sid": m.token()})


def rest(m):
    n = m.number
    first, last, mail = m.person()
    item = lambda: {"sku": f"{m.fill('{noun}').upper()}-{n(100, 999)}", "name": m.fill("{colour} {noun}"), "qty": n(1, 9), "price": m.price(), "note": m.sentence() if m.some(30) else None}  # noqa: E731
    shapes = [
        lambda: ("POST", "/api/v2/orders", {"customer": {"name": f"{first} {last}", "email": mail, "address": {"street": m.fill("{street}"), "city": m.fill("{city}")}}, "items": [item() for _ in range(n(1, 4))], "currency": "EUR", "gift": m.some(50)}),
        lambda: ("PATCH", f"/api/users/{m.uuid()}", {"displayName": f"{first} {last}", "bio": m.prose(2), "locale": "de-DE", "settings": {"newsletter": False, "theme": "dark"}}),
        lambda: ("PUT", f"/rest/items/{n(1, 99999)}", item()), lambda: ("POST", "/api/messages", {"to": [mail], "text": m.prose(4), "attachments": [], "replyTo": m.uuid(), "sentAt": m.time()}),
        lambda: ("POST", "/api/search", {"query": m.query(), "filters": [{"field": "price", "op": "between", "value": [1, 50]}, {"field": "colour", "op": "in", "value": [m.fill("{colour}"), m.fill("{colour}")]}], "sort": "-created_at", "from": 0, "size": 20}),
        lambda: ("POST", "/jsonrpc", {"jsonrpc": "2.0", "method": m.pick(["system.listMethods", "user.update", "cart.select", "item.delete"]), "params": [m.sentence(), n(1, 99)], "id": n(1, 999)}),
        lambda: ("POST", "/api/events", [{"type": "note", "text": m.sentence(), "at": m.time()} for _ in range(n(1, 5))]),
        lambda: ("POST", "/api/translate", {"source": "de", "target": "en", "q": [m.sentence(), m.sentence()], "format": "text"}),
        lambda: ("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "system", "content": "You're a helpful assistant."}, {"role": "user", "content": m.prose(3)}], "temperature": 0.7, "stream": True}),
        lambda: ("PATCH", "/odata/Orders(42)", {"@odata.context": "$metadata#Orders/$entity", "Status": "shipped", "Comment": m.sentence()}),
        lambda: ("POST", "/api/geo", {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [n(-180, 180), n(-90, 90)]}, "properties": {"name": m.fill("{city}")}}]}),
        lambda: ("POST", "/api/schema", {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/x.json", "type": "object", "properties": {m.fill("{noun}"): {"$ref": "#/definitions/a"}}}),
        lambda: ("POST", "/api/calendar", {"summary": m.sentence()[:60], "location": m.fill("{street}, {city}"), "start": {"dateTime": m.time(), "timeZone": "Europe/Berlin"}, "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20251231T000000Z"]})]
    if m.some(25):
        uri = m.pick([f"/api/v1/items?filter[{m.pick(['price', 'name'])}]={quote(m.query())}&page[size]=20&include=author,tags", f"/api/users/{m.uuid()}?fields=id,name,email&expand=groups",
                      f"/odata/Products?$filter=Price%20gt%20{n(1, 9)}%20and%20Name%20eq%20'{quote(m.fill('{noun}'))}'&$top=10&$orderby=Name%20desc",
                      f"/api/items?where={quote(json.dumps({'colour': m.fill('{colour}'), 'qty': n(1, 9)}))}&sort=-date", f"/api/v3/stats?from={m.time()}&to={m.time()}&group_by=day&metric=avg(load)",
                      f"/api/prices?ids={n(1, 99)},{n(1, 99)},{n(1, 99)}&currency=EUR&fields=price(min,max)"])
        return m.add("json_api", "GET", uri, m.headers(extra=[["Authorization", "Bearer " + m.jwt()]]))
    method, uri, value = m.pick(shapes)()
    m.json("json_api", method, uri, value, extra=[["Authorization", "Bearer " + m.jwt()]] if m.some(50) else [])


def telemetry(m):
    n = m.number
    page = f"https://{m.pick(HOSTS)}/{m.fill('{noun}')}?q={quote_plus(m.query())}"
    shapes = [
        lambda: m.add("telemetry", "GET", f"/g/collect?v=2&tid=G-{m.token(5).upper()}&gtm=45je45f0v{n(10**8, 10**9)}&_p={n(10**12, 10**13)}&gcd=13l3l3l3l1&cid={n(10**8, 10**9)}.{n(10**9, 10**10)}&ul=de-de&sr=1920x1080&uaa=x86&uafvl=Chromium%3B126.0.6478.127%7CNot%252FA)Brand%3B8.0.0.0&dl={quote(page, safe='')}&dr=&dt={quote(m.sentence()[:50])}&en=page_view&_et={n(1, 9999)}", m.headers()),
        lambda: m.json("telemetry", "POST", "/v1/batch", {"batch": [{"type": "track", "event": m.pick(["Product Viewed", "Cart Updated", "Form Submitted"]), "anonymousId": m.uuid(), "properties": {"url": page, "title": m.sentence()[:60], "price": m.price(), "href": "javascript:void(0)", "selector": "div#main > ul.nav li:nth-child(2) a[href='#']"}, "timestamp": m.time()}], "sentAt": m.time()}, "text/plain;charset=UTF-8"),
        lambda: m.json("telemetry", "POST", f"/api/{n(1, 99)}/envelope/?sentry_key={m.token()}&sentry_version=7", {"event_id": m.token(), "level": "error", "exception": {"values": [{"type": "TypeError", "value": m.pick(["Cannot read properties of undefined (reading 'map')", "x is not a function", "Failed to fetch", "null is not an object (evaluating 'a.b')", "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON"]), "stacktrace": {"frames": [{"filename": f"https://cdn.example.com/app.{m.token(4)}.js", "function": m.pick(["onClick", "r.<anonymous>", "Object.load", "?"]), "lineno": n(1, 9), "colno": n(1, 99999)}]}}]}, "breadcrumbs": [{"category": "ui.click", "message": "button.btn.btn-primary[type=\"submit\"]"}], "request": {"url": page}}),
        lambda: m.add("telemetry", "POST", "/beacon/rum", m.headers(), json.dumps({"lcp": n(100, 5000), "fid": n(1, 99), "cls": 0.01, "nav": {"type": "navigate", "ttfb": n(10, 900)}, "ua": m.pick(words.AGENTS), "url": page}), "text/plain"),
        lambda: m.json("telemetry", "POST", "/csp-report", {"csp-report": {"document-uri": page, "violated-directive": "script-src 'self' 'unsafe-inline' https:", "blocked-uri": "inline", "original-policy": "default-src 'self'; img-src * data:; object-src 'none'; report-uri /csp-report"}}, "application/csp-report"),
        lambda: m.add("telemetry", "GET", f"/pixel.gif?id={n(10**9, 10**10)}&ev=PageView&dl={quote(page, safe='')}&rl=&if=false&ts={n(10**12, 10**13)}&sw=1440&sh=900&v=2.9.156&r=stable&ec=0&o=4126&fbp=fb.1.{n(10**12, 10**13)}.{n(10**8, 10**9)}&cd[content_name]={quote(m.fill('{colour} {noun}'))}&cd[value]={m.price()}", m.headers()),
        lambda: m.form("telemetry", "/matomo.php?action_name=" + quote(m.sentence()[:50]), {"idsite": 3, "rec": 1, "r": n(1, 999999), "h": 12, "m": 3, "s": 9, "url": page, "urlref": "https://www.google.com/", "_id": m.token(8), "res": "1920x1080", "_cvar": '{"1":["type","a & b"]}'}),
        lambda: m.json("telemetry", "POST", "/v1/traces", {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}, "scopeSpans": [{"spans": [{"traceId": m.token(), "spanId": m.token(8), "name": f"GET /api/{m.fill('{noun}')}", "kind": 3, "startTimeUnixNano": str(n(10**18, 2 * 10**18))}]}]}]})]
    m.pick(shapes)()


def png(m):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    rows = b"".join(b"\0" + m.random.randbytes(24) for _ in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def upload(m):
    boundary = m.pick(["----WebKitFormBoundary" + m.token(8), "-" * 27 + str(m.number(10**14, 10**15)), "Boundary-" + m.uuid().upper()])
    rows = "".join(f"{m.number(1, 999)};\"{m.fill('{first} {last}')}\";{m.fill('{city}')};{m.price()}\r\n" for _ in range(m.number(2, 20)))
    vcard = m.fill("BEGIN:VCARD\r\nVERSION:3.0\r\nN:{last};{first};;;\r\nORG:{company}\r\nADR:;;{street};{city};;;\r\nEND:VCARD\r\n")
    ics = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20250601T090000Z\r\nSUMMARY:" + m.sentence() + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    name, kind, data = m.pick([("photo (1).png", "image/png", png(m)), ("Lebenslauf_Müller.pdf", "application/pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n" + m.random.randbytes(120)),
                               ("list.csv", "text/csv", ("id;name;city;sum\r\n" + rows).encode()), ("notes.txt", "text/plain", m.prose(12).encode()), ("it's mine.jpeg", "image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + m.random.randbytes(300)),
                               ("contact.vcf", "text/vcard", vcard.encode()), ("termin.ics", "text/calendar", ics.encode()), ("data.json", "application/json", json.dumps({"a": [1, 2], "t": m.sentence()}).encode()),
                               ("archive.v2.tar.gz", "application/gzip", b"\x1f\x8b\x08\0" + m.random.randbytes(200)), ("报告.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\x03\x04" + m.random.randbytes(200)), ("README.md", "text/markdown", m.fill(m.pick(words.MARKDOWN)).encode())])
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode() for field, value in
             [("title", m.sentence()), ("_csrf", m.token()), ("folder", str(m.number(1, 99))), ("tags[]", m.fill("{noun}"))] if m.some(70)]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{m.pick(["file", "upload", "files[]", "avatar"])}"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'.encode() + data + b"\r\n")
    m.add("upload", "POST", m.pick(["/upload", "/api/files", "/account/avatar", "/wp-admin/async-upload.php", "/jobs/apply"]), m.headers(), b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


GRAPHQL = ["query Product($id: ID!, $first: Int = 10) { product(id: $id) { id name price { amount currency } reviews(first: $first, orderBy: {field: CREATED_AT, direction: DESC}) { edges { node { id body author { name } } } pageInfo { hasNextPage endCursor } } } }",
           "mutation AddComment($input: AddCommentInput!) {\n  addComment(input: $input) {\n    comment { id body }\n    errors { field message }\n  }\n}", "{ me { id email orders(last: 5) { total } } __typename }",
           "query Search($q: String!) { search(query: $q, type: ALL) { __typename ... on User { login } ... on Product { name @include(if: true) } } }", "subscription OnMessage { messageAdded(room: \"it's us\") { id text } }",
           "mutation { login(email: \"a@example.org\", password: \"P@ss'w0rd\") { token user { id } } }", "fragment F on User { id name } query U { user(login: \"mary\") { ...F followers(first: 3) { nodes { ...F } } } }",
           "mutation UpdateCart($id: ID!, $lines: [LineInput!]!) { cartLinesUpdate(cartId: $id, lines: $lines) { cart { totalQuantity cost { totalAmount { amount } } } userErrors { message } } }"]


def graphql(m):
    variables = m.pick([{"id": m.b64(12), "first": m.number(1, 50)}, {"input": {"subjectId": m.uuid(), "body": m.prose(3)}}, {"q": m.query()}, {}, {"id": m.uuid(), "lines": [{"id": m.b64(8), "quantity": m.number(1, 9)}]}])
    query = m.pick(GRAPHQL)
    if m.some(20):
        return m.add("graphql", "GET", "/graphql?" + urlencode({"query": query, "variables": json.dumps(variables)}), m.headers())
    value = {"operationName": m.pick(["Product", None, "Search"]), "query": query, "variables": variables}
    m.json("graphql", "POST", m.pick(["/graphql", "/api/graphql", "/query"]), [value, value] if m.some(10) else value)


def cookies(m):
    fields = m.headers(cookies=0) + [["Cookie", "; ".join(m.cookie() for _ in range(m.number(5, 25)))]]
    m.add("cookies", "GET", m.pick(["/", "/account", f"/p/{m.fill('{noun}')}-{m.number(1, 999)}.html", f"/news/{m.number(2010, 2025)}/{m.fill('{noun}')}-{m.fill('{colour}')}"]), fields)


def sign_on(m):
    back = f"https://{m.pick(HOSTS)}/auth/callback?next=%2Faccount%3Ftab%3D1"
    saml = base64.b64encode(zlib.compress(f'<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_{m.token()}" Version="2.0" IssueInstant="{m.time()}"/>'.encode())[2:-4]).decode()
    answer = base64.b64encode(f'<samlp:Response ID="_{m.token()}"><saml:Assertion><saml:NameID>{m.person()[2]}</saml:NameID></saml:Assertion></samlp:Response>'.encode()).decode()
    shapes = [lambda: m.add("sign_on", "GET", "/oauth2/authorize?" + urlencode({"client_id": m.token(10) + ".apps.example.com", "redirect_uri": back, "response_type": "code", "scope": "openid profile email https://www.googleapis.com/auth/drive.file", "state": m.b64(30, True), "nonce": m.token(), "code_challenge": m.b64(32, True), "code_challenge_method": "S256", "prompt": "select_account"}), m.headers()),
              lambda: m.add("sign_on", "GET", f"/auth/callback?code=4/{m.b64(40, True)}&state={m.b64(20, True)}&scope=email%20profile%20https://www.googleapis.com/auth/userinfo.email&authuser=0&hd=example.org&prompt=none", m.headers()),
              lambda: m.form("sign_on", "/oauth/token", {"grant_type": "authorization_code", "code": m.b64(40), "redirect_uri": back, "client_id": m.token(8), "client_secret": m.b64(30), "code_verifier": m.b64(40, True)}),
              lambda: m.add("sign_on", "GET", "/saml/sso?" + urlencode({"SAMLRequest": saml, "RelayState": back, "SigAlg": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "Signature": m.b64(128)}), m.headers()),
              lambda: m.form("sign_on", "/saml/acs", {"SAMLResponse": answer, "RelayState": back}), lambda: m.form("sign_on", "/signin-oidc", {"code": m.b64(50, True), "id_token": m.jwt(), "state": "CfDJ8" + m.b64(90, True), "session_state": m.uuid()}),
              lambda: m.add("sign_on", "GET", "/login?" + urlencode({"returnUrl": m.pick(["/account", "/shop?item=3&x=1", back, "https://shop.example.org/a/b?c=d#e"])}), m.headers()),
              lambda: m.form("sign_on", "/oauth/token", {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": m.jwt(), "resource": "https://graph.example.net/"})]
    m.pick(shapes)()


def methods(m):
    path = quote(m.pick(["/dav/Documents/Bericht März.docx", "/remote.php/dav/files/mary/photos/it's me.jpg", "/webdav/", "/calendars/tom/default/"]))
    body = '<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><d:getlastmodified/><d:getetag/><oc:id/></d:prop></d:propfind>'
    shapes = [lambda: m.add("methods", "OPTIONS", f"/api/v{m.number(1, 3)}/{m.fill('{noun}')}s", m.headers(cookies=0, extra=[["Origin", "https://" + m.pick(HOSTS)], ["Access-Control-Request-Method", m.pick(["PUT", "PATCH", "DELETE", "POST"])], ["Access-Control-Request-Headers", "content-type,authorization,x-request-id"]])),
              lambda: m.add("methods", "PROPFIND", path, m.headers(extra=[["Depth", "1"]]), body, "application/xml; charset=utf-8"), lambda: m.add("methods", "HEAD", f"/downloads/{m.fill('{noun}')}-{m.number(1, 9)}.{m.number(0, 9)}.zip", m.headers()),
              lambda: m.add("methods", "DELETE", f"/api/items/{m.uuid()}", m.headers()), lambda: m.add("methods", "MKCOL", path, m.headers()),
              lambda: m.add("methods", "PUT", path, m.headers(), m.prose(6), "text/plain"), lambda: m.add("methods", "MOVE", path, m.headers(extra=[["Destination", "https://www.example.com/dav/neu%20(1).docx"], ["Overwrite", "F"]]))]
    m.pick(shapes)()


def xml(m):
    esc = lambda t: t.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")  # noqa: E731
    t = lambda: esc(m.sentence())  # noqa: E731
    shapes = [lambda: ("/soap/OrderService", "text/xml; charset=utf-8", f'<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><m:GetPrice xmlns:m="https://www.example.org/prices"><m:Item>{esc(m.fill("{noun}"))}</m:Item><m:Note>{t()}</m:Note></m:GetPrice></soap:Body></soap:Envelope>'),
              lambda: ("/xmlrpc", "text/xml", f'<?xml version="1.0"?><methodCall><methodName>metaWeblog.newPost</methodName><params><param><value><string>{t()}</string></value></param></params></methodCall>'),
              lambda: ("/feed/import", "application/rss+xml", f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>{t()}</title><link>https://example.org/</link><item><title>{t()}</title><description><![CDATA[<p>{m.sentence()}</p>]]></description><pubDate>Mon, 06 May 2024 10:00:00 GMT</pubDate></item></channel></rss>'),
              lambda: ("/atom", "application/atom+xml", f'<entry xmlns="http://www.w3.org/2005/Atom"><title>{t()}</title><id>urn:uuid:{m.uuid()}</id><content type="text">{t()}</content></entry>'),
              lambda: ("/orders.xml", "application/xml", f'<order id="{m.number(1, 999)}" customer="{esc(m.fill("{first} {last}"))}"><item qty="{m.number(1, 9)}">{esc(m.fill("{colour} {noun}"))}</item><remark>{t()}</remark></order>'),
              lambda: ("/ubl/invoice", "application/xml", f'<?xml version="1.0"?><Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"><ID>{m.number(1, 99999)}</ID><Supplier>{esc(m.fill("{company}"))}</Supplier><Note>{t()}</Note><Total currencyID="EUR">{m.price()}</Total></Invoice>')]
    uri, kind, body = m.pick(shapes)()
    m.add("xml", "POST", uri, m.headers(), body, kind)


def agents(m):
    path = m.pick(["/", "/robots.txt", "/sitemap.xml", "/feed/", f"/{m.fill('{noun}')}/{m.number(1, 99)}", "/favicon.ico", "/.well-known/assetlinks.json", "/.well-known/acme-challenge/" + m.b64(24, True), "/apple-touch-icon.png", "/health", "/metrics", f"/article/{m.fill('{noun}')}-{m.fill('{colour}')}?amp=1"])
    m.add("agents", "GET", path, m.headers(agent=m.pick(words.APPS), cookies=10, extra=[["X-App-Version", "5.12.1"], ["X-Device-Id", m.uuid()]] if m.some(40) else []))


def assets(m):
    n, h = m.number, m.token(4)
    uri = m.pick([f"/static/js/main.{h}.chunk.js", f"/_next/static/chunks/pages/%5Bslug%5D-{h}.js", f"/_next/image?url=%2Fimg%2F{m.fill('{noun}')}.jpg&w={n(64, 1920)}&q=75", f"/cdn-cgi/image/width={n(100, 900)},quality=80,format=auto/img/{m.fill('{noun}')}.png", f"/assets/fonts/inter-v{n(1, 13)}-latin-{n(1, 9)}00.woff2?v={h}",
                  f"/img/{quote(m.fill('{noun}'))}@2x.png?v={n(1, 99)}", f"/video/hls/{m.uuid()}/seg-{n(1, 999)}-v1-a1.ts", f"/npm/bootstrap@5.3.{n(0, 3)}/dist/css/bootstrap.min.css", f"/ajax/libs/jquery/3.{n(0, 7)}.1/jquery.min.js", f"/tiles/{n(1, 18)}/{n(1, 9999)}/{n(1, 9999)}.png?lang=de,en",
                  f"/wp-content/themes/a/style.css?ver=6.{n(0, 5)}", f"/media/catalog/product/cache/{m.token()}/{h[0]}/{h[1]}/{m.fill('{noun}')}_{n(1, 9)}.jpg", f"/files/{quote(m.fill('Bericht {city} (neu) & alt.pdf'))}", f"/combo?3.18.1/yui/yui-min.js&3.18.1/oop/oop-min.js", f"/i/{m.fill('{colour}')};w={n(10, 99)};h={n(10, 99)}/a.webp",
                  f"/fonts/css2?family=Roboto:ital,wght@0,400;0,700;1,400&family=Open+Sans&display=swap", f"/gtm.js?id=GTM-{h.upper()}&l=dataLayer&cx=c", f"/~mary/public/{m.fill('{noun}')}.html", f"/docs/v{n(1, 9)}/select-from-table.html", f"/blog/drop-table-or-not-{n(1, 99)}/", f"/wiki/{quote(m.fill('{city}'))}_({m.fill('{noun}')})"])
    m.add("assets", "GET", uri, m.headers(cookies=20, extra=[["If-None-Match", f'W/"{h}"']] if m.some(30) else []))


def ranges(m):
    first = m.number(0, 10**6)
    m.add("ranges", "GET", f"/media/{m.fill('{noun}')}-{m.number(1, 99)}.{m.pick(['mp4', 'mp3', 'pdf', 'iso'])}", m.headers(extra=[["Range", m.pick([f"bytes={first}-", f"bytes={first}-{first + 65535}", f"bytes=-{first}", "bytes=0-1"])], ["If-Range", f'"{m.token(6)}"']]))


def webhooks(m):
    n = m.number
    first, last, mail = m.person()
    sign = lambda: hashlib.sha256(m.token().encode()).hexdigest()  # noqa: E731
    shapes = [lambda: ("/webhooks/stripe", {"id": "evt_" + m.token(12), "object": "event", "api_version": "2024-04-10", "created": n(1700000000, 1720000000), "type": m.pick(["invoice.paid", "charge.succeeded", "customer.subscription.updated"]), "data": {"object": {"id": "ch_" + m.token(12), "amount": n(100, 99999), "currency": "eur", "description": m.sentence(), "billing_details": {"name": f"{first} {last}", "email": mail, "address": {"line1": m.fill("{street}")}}, "metadata": {"order": str(n(1, 9999))}}}}, [["Stripe-Signature", f"t={n(1700000000, 1720000000)},v1={sign()},v0={sign()}"]], "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
              lambda: ("/webhooks/github", {"ref": "refs/heads/main", "before": m.token(20), "after": m.token(20), "repository": {"full_name": "example/shop", "html_url": "https://github.com/example/shop", "default_branch": "main"}, "pusher": {"name": "mary", "email": mail}, "commits": [{"id": m.token(20), "message": m.pick(["fix: don't crash on empty list", "feat: add table of contents; drop old menu", "Merge branch 'main' into dev", "docs: it's = it is"]), "added": ["src/a.rs"], "modified": ["README.md", ".github/workflows/ci.yml"], "author": {"name": f"{first} {last}"}}]}, [["X-GitHub-Event", "push"], ["X-GitHub-Delivery", m.uuid()], ["X-Hub-Signature-256", "sha256=" + sign()]], "GitHub-Hookshot/" + m.token(4)),
              lambda: ("/hooks/slack", {"text": m.sentence(), "attachments": [{"color": "#36a64f", "title": m.sentence()[:50], "fields": [{"title": "Priority", "value": "High", "short": False}]}]}, [], "Slackbot 1.0 (+https://api.slack.com/robots)"),
              lambda: ("/hooks/shopify", {"id": n(10**9, 10**10), "note": m.sentence(), "line_items": [{"title": m.fill("{colour} {noun}"), "price": str(m.price())}], "landing_site": "/products/x?utm=a&b=c", "customer": {"first_name": first, "last_name": last}}, [["X-Shopify-Hmac-Sha256", m.b64(32)], ["X-Shopify-Topic", "orders/create"]], "Shopify-Captain-Hook"),
              lambda: ("/hooks/mail", {"event-data": {"event": "opened", "recipient": mail, "message": {"headers": {"subject": m.sentence(), "message-id": f"<{m.token(8)}@example.org>"}}}}, [], "Mailgun/Webhooks"),
              lambda: ("/hooks/alerts", {"receiver": "web", "status": "firing", "alerts": [{"labels": {"alertname": "HighLoad", "instance": "web-1:9100"}, "annotations": {"summary": "Load > 5 for 10m & rising", "description": m.sentence()}, "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=rate%28x%5B5m%5D%29+%3E+5"}]}, [], "Alertmanager/0.27.0")]
    uri, value, extra, agent = m.pick(shapes)()
    m.json("webhooks", "POST", uri, value, agent=agent, cookies=0, extra=extra)


def admin(m):
    html = m.fill("\r\n".join(m.pick(words.HTML) for _ in range(m.number(1, 4))))
    shapes = [lambda: m.form("admin", "/wp-admin/post.php", {"_wpnonce": m.token(5), "action": "editpost", "post_ID": m.number(1, 999), "post_title": m.sentence()[:80], "content": html, "post_status": "publish", "tags_input": m.fill("{noun}, {colour}")}),
              lambda: m.form("admin", "/wp-admin/admin-ajax.php", {"action": "heartbeat", "_nonce": m.token(5), "data[wp-refresh-post-lock][post_id]": m.number(1, 99), "interval": 15, "screen_id": "post", "has_focus": "true"}),
              lambda: m.json("admin", "POST", f"/wp-json/wp/v2/posts/{m.number(1, 999)}?_locale=user", {"id": m.number(1, 999), "content": html, "title": m.sentence()[:60]}),
              lambda: m.form("admin", "/wp-admin/options.php", {"option_page": "general", "blogname": m.fill("{company}"), "blogdescription": m.sentence(), "siteurl": "https://www.example.com", "date_format": "F j, Y", "permalink_structure": "/%year%/%postname%/"}),
              lambda: m.add("admin", "GET", f"/wp-admin/edit.php?s={quote_plus(m.query())}&post_status=all&post_type=post&action=-1&m=0&cat=0&paged=1", m.headers()),
              lambda: m.form("admin", "/admin/products/edit", {"__RequestVerificationToken": "CfDJ8" + m.b64(80, True), "Name": m.fill("{colour} {noun}"), "Description": html, "Price": m.fill("{price}"), "IsActive": "true"}),
              lambda: m.form("admin", "/default.aspx", {"__VIEWSTATE": "/wEPDwUK" + m.b64(120), "__VIEWSTATEGENERATOR": m.token(4).upper(), "__EVENTVALIDATION": m.b64(60), "ctl00$Main$txtName": m.fill("{first} {last}"), "ctl00$Main$txtText": m.sentence(), "ctl00$Main$btn": "Speichern"}),
              lambda: m.form("admin", "/node/12/edit", {"title[0][value]": m.sentence()[:60], "body[0][value]": html, "body[0][format]": "basic_html", "form_build_id": "form-" + m.b64(30, True), "form_id": "node_page_edit_form", "op": "Save"})]
    m.pick(shapes)()


def code(m):
    text = m.fill("{first}: ") + m.pick(words.CODE) + "\r\n" + m.prose(1)
    if m.some(50):
        m.json("code", "POST", "/api/snippets", {"title": m.sentence()[:50], "language": "text", "content": text})
    else:
        m.form("code", "/forum/reply.php", {"topic": m.number(1, 9999), "message": text})


PLAN = [(search, 300), (contact_form, 260), (checkout, 110), (login, 90), (post, 120), (rest, 240), (telemetry, 110), (upload, 90),
        (graphql, 70), (cookies, 90), (sign_on, 70), (methods, 60), (xml, 70), (agents, 80), (assets, 100), (ranges, 25),
        (webhooks, 70), (admin, 80), (code, 45)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    maker = Maker(parser.parse_args().seed)
    for make, count in PLAN:
        for _ in range(count):
            make(maker)
    folder = HERE / "ordinary"
    folder.mkdir(exist_ok=True)
    for kind in sorted({request["class"] for request in maker.requests}):
        lines = [json.dumps(request, ensure_ascii=False) for request in maker.requests if request["class"] == kind]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(maker.requests)} ordinary requests")


if __name__ == "__main__":
    main()
