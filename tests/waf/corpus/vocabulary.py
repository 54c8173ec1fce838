"""Words and sentences of ordinary people, for make_ordinary.py. Written by hand, with what misleads a WAF on purpose:
apostrophes, dashes, semicolons, quotes, words of SQL and of shells in prose. `{x}` is filled in from the lists."""

LISTS = {
    "noun": """table chair bicycle kettle lamp jacket sofa garden camera printer guitar suitcase blanket mirror tent
        notebook keyboard bookshelf teapot ladder umbrella carpet freezer radio scarf drawer cupboard projector""".split(),
    "colour": "red blue green black white beige navy grey purple orange turquoise cream".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday tomorrow today".split(),
    "city": """London Leeds Dublin Edinburgh Boston Austin Chicago Toronto Sydney Auckland Berlin Hamburg München Köln
        Zürich Wien Graz Basel Straßburg Lyon Paris Kraków Malmö Århus 北京 上海 深圳 台北 São\u00a0Paulo Bogotá""".split(),
    "first": """Mary Sean Siobhán Liam Aoife John Priya Wei Ahmed Fatima Jürgen Bärbel Günther Zoë Renée François Björn
        Łukasz Ngọc Olga Dmitri Chidi Amara Tom Alice Bob Eve Drew Grant Union Will Max Exec Otto""".split(),
    "last": """O'Brien O'Connor D'Angelo M'Baye d'Arcy Smith-Jones Müller Groß Weiß Løvås Nguyễn García-López Null True
        Selectman Droppert Tableau Kowalczyk Fröhlich van\u00a0der\u00a0Berg de\u00a0l'Isle Sanchez Cat Root King Eval
        Int O’Neill McAdams Ångström Čapek Yılmaz""".split(),
    "company": """Baker & Sons;Marks + Spencer;AT&T;Procter & Gamble;Ben & Jerry's;Toys "R" Us;H&M;Müller GmbH & Co. KG;L'Oréal;Yahoo!;C&A;Union Bank;Table for Two Ltd.;Drop-Shipping (UK) Inc.;Order & Chaos Ltd""".split(";"),
    "street": """12 St. John's Rd|Flat 3/4, 18 King's Cross|221B Baker Street|Hauptstraße 5 (Hinterhaus)|Große Bleichen 21
        |c/o Schmidt, Am Bahnhof 7|1600 Amphitheatre Pkwy #100|Unit 4; rear entrance|朝阳区建国路88号|Rue de l'Église 9
        |Plot 7 & 8, Union Road|Where House, 2 From Street|PO Box 12, Drop-off Lane""".replace("\n        ", "").split("|"),
    "price": "£12.99 $5 €1.299,00 19,90\u00a0€ ¥880 $1,000.00 £0 99p 5% 12.5%".split(),
    "n": "2 3 4 5 7 8 10 12 15 20 24 30 48 100 250".split(),
}

ENGLISH = """Please select a table from the menu and order by mail where you like.
Drop us a line; we'd love to hear from you!
The union of both clubs was voted for -- and it's about time.
I'd like to return the {noun}; it doesn't fit in my {noun}.
Don't forget: the shop's open till 8 on {day} & closed on {day}.
It's 5 o'clock somewhere, isn't it? I can't wait for {day}!
My order (no. {n}{n}{n}) hasn't arrived yet -- could you check where it is?
"Best {noun} I've ever had", said my sister-in-law; she's not easily pleased.
Can you update the address and delete the old one from your list?
We want to create a table plan for {n} guests; who's sitting where?
I will insert the key into the lock and let you know.
Having lived in {city} for {n} years, I'd say: go there & see for yourself.
Is there a {colour} one? If not, {colour} or {colour} would do.
1 or 2 of them are fine, 3 and 4 are broken.
The {noun} costs {price}, not {price} -- that's a 20% difference!!!
Call me on +44 (0)20 7946 0958 or e-mail {first}@example.org; thanks.
Rock 'n' roll, R&B and drum & bass: which do you prefer?
He said 'yes' or 'no' -- I don't remember; 'maybe' = 'no' in his book.
Q: how do I reset the password? A: click "Forgot password?" | then check your spam folder.
Add salt; stir; cat & dog hair not included ;-)
I like cats; dogs are fine too. <3
Size 5 < size 6, and 10 > 9; that's all there's to it.
Execute the plan as agreed: first {city}, then {city}, from there by train.
We'd like to join the group by {day}, having paid already.
Grant all my regards to {first}; revoke none of it!
The set of {n} {noun}s (incl. {noun} #{n}) is = {price}; shipping: {price}.
All users where asked to log in as usual, or else = no access.
She's the head of sales, more or less; find her at the desk & ask.
Let's meet at {street}, {city} - it's next to the {noun} shop.
To whom it may concern: the {colour} {noun}'s handle broke after {n} days; see photo.
Select all that apply: {noun}, {noun}, {noun} or "other".
if you like this; then echo it to your friends & family
Time flies like an arrow; fruit flies like a banana.
Breakfast was served on time with fresh fruit and good coffee
a lovely time and best wishes
while the small one is fine, the large one is better; sleep well (8 hours)!
The host was kind; id cards weren't needed, ping me if you want pictures.
what's the difference between "and" and "or"? I'd say there's none
Great value -- {n}/10, would buy again :) :-* ^^ <3 <3
Terms & conditions apply*; *see page {n}, section 3.{n}(b).
Open the file menu, choose "Save as…", and put it into C: drive or ~/Documents.
The script of the play was written by {first} {last}; the object of it was to embed us in style.
On load, the van's on error; on click nothing happened = broken.
Is the double-decker bus to {city} "on time"? on=1 or off=0?
Read ../notes first, then chapter {n}. And/or call us 24/7.
I paid w/ card **** **** **** 1234; exp. 12/27 -- please charge {price} only.
Username is {first}.{last}, hint: my dog's name + birthday ('82).
Here's the link: https://www.example.com/shop?item={n}&colour={colour}#reviews
see http://example.org/a/b/../c.html or www.example.net; thanks
{first} & {first} (+{n}) are coming, {first} isn't -- sorry!
between {n} and {n} people like it, limit {n} per person
Where is the {noun} from the advert = sold out?
Half the {noun}s were from {city}; the rest from {city} or so.
The "union select committee" of {city} met on {day}.
insert coin(s) to continue; delete nothing, update everything
From {city} to {city} in {n} hours? Not null chance, I'd say.
Don't cast doubt on it; convert to the metric system and count (twice).
My mother's maiden name is {last}; she's from {city}.
The cat sat on the mat; who am I to judge? uname it.
Wait for delay announcements at gate {n}; the benchmark (2019) was better.
the char was "a" (or "b"), the substring of our talk: exp(l)oration
Printf-style or echo? I'd go for neither; sh, don't wake the baby | ls on the wall
Hi {first}, could you send the invoice to {company}, {street}? Cheers, {last}
Shop early, and save {price}! -- Offer ends {day} at 23:59:59.
The eval form (evaluation) is on the desk; system (old) failed again.
Script kiddies? <No thanks>. I'm on vacation = happy.
"{noun}" or "{noun}"? {first} says "{noun}" -- {last} disagrees.
'tis the season; '90s music & '80s hair
He's got a B.A. (hons); she's an M.D.; they're both from {city}.
Does the warranty cover {n}%-{n}% wear & tear?; if so: how much?
Version 2.0.1 isn't compatible w/ 1.9.x - rollback?
5'10" tall, 160 lbs; wears a 34" x 32" in {colour}
Meeting notes:\n- budget: {price} (ok)\n- {first}: "not enough"\n- next: {day} @ 10:30
Subject: Re: Fwd: {noun}\nTo: {first}\nFrom: {last}\n\nSee below; it's all there.
Location: {city}\nDate: {day}\nPrice: {price}\nBring: {noun}, {noun}""".split("\n")
ENGLISH = [line.replace("\\n", "\r\n") for line in ENGLISH]

GERMAN = """Können Sie mir bitte den {noun} bis {day} nach {city} schicken? Vielen Dank!
Ich hätte gern eine Rechnung für „{company}“, {street}.
Schöne Grüße aus {city}; bis bald – Ihre {first} {last}
Die Lieferung war leider beschädigt: Gehäuse gebrochen, Füße verbogen (s. Foto).
Das ist ja 'ne Überraschung! So'n Mist aber auch; na ja...
Wählen Sie einen Tisch aus der Liste und bestellen Sie per Post.
Preis: {price} inkl. 19 % MwSt.; Versand: {price} -- stimmt das?
Öffnungszeiten: Mo.-Fr. 9-18 Uhr, Sa. & So. geschlossen
Wie geht's? Mir geht's gut; ich hab's eilig.
Straße, Hausnr.: {street}; PLZ/Ort: 20095 {city}
Der Kunde schrieb: "Geht nicht" oder "geht doch" – was nun?
Löschen Sie bitte meine Daten (Art. 17 DSGVO) & bestätigen Sie es schriftlich.
Union oder Verein? Entweder/oder; und/oder auch: 1. FC Union gegen den HSV 3:2
Rückruf erbeten unter 040 / 123 45-67 oder 0171-2345678, ab 17:30 Uhr
Wer, wie, was; der, die, das – wieso, weshalb, warum?
Ein Satz mit Ä, Ö, Ü & ß; und »Anführungszeichen«, ‚einfachen‘ dazu.
Die IP-Adresse kenn' ich nicht, der Host war nett; Ping-Pong & Sport
Bitte {n} Stück à {price} = Summe? Oder gibt's Rabatt ab {n}?
Select-Box "Land" zeigt nichts an; nach Update auf 2.{n} immer noch.
Mit freundlichen Grüßen\r\n{first} {last}\r\n{company}\r\n{street}""".split("\n")
GERMAN = [line.replace("\\r\\n", "\r\n") for line in "\n".join(GERMAN).replace("\r\n", "\\r\\n").split("\n")]

CHINESE = """请从菜单中选择一张桌子，谢谢！
我想退货；尺寸不合适（订单号：{n}{n}{n}）。
价格是{price}还是{price}？包邮吗？
你好，请问{day}有货吗？我在{city}。
“这个很好用”，我朋友说；质量不错！
地址：{street}，电话：138-0013-8000
联系人：王小明 & 李雷；邮箱：wang@example.cn
更新后无法登录，请帮忙查一下——急！
今天天气真好，我们去公园吧…好不好？
颜色：红/蓝/绿；数量：{n}个；备注：无
《三体》第{n}章：黑暗森林
删除旧地址，然后添加新的：上海市浦东新区
日本語も大丈夫ですか？はい、どうぞ！
한국어 문의도 가능합니까? 네; 감사합니다.
Спасибо за быструю доставку; всё отлично!
هل يمكن التوصيل إلى {city}؟ شكراً""".split("\n")

OTHER = """C'est l'été; j'ai besoin d'un {noun} pour l'hôtel – merci d'avance!
L'addition s'il vous plaît: {price} n'est-ce pas?
¿Dónde está el {noun}? ¡No lo sé! Mañana o "pasado".
Dell'acqua e un po' d'olio; quant'è? {price}
Pięć żółtych łódek -- {price}; dziękuję
Zo'n mooie {noun}, 's avonds of 's morgens?
Å, så fint! Er det en {noun} eller to?""".split("\n")

MARKDOWN = """# {noun} review\r\n\r\n**Pros:** cheap; *light*\r\n\r\n- it's {colour}\r\n- > "love it"\r\n\r\n[link](https://example.org/{noun}?a=1&b=2)
| item | price |\r\n|------|-------|\r\n| {noun} | {price} |\r\n| {noun} | {price} |\r\n\r\n---\r\n_Notes_: see [1]
## Steps\r\n1. Open the box; remove the {noun}.\r\n2. Don't drop it!\r\n3. Done -- that's it.\r\n\r\n![photo](../img/{noun}.png)
> {first} wrote:\r\n> > I can't find it\r\n\r\nIt's `File > Settings`, then choose "{noun}".
* {first} -- {price}\r\n* {first} -- {price}\r\n\r\n~~{noun}~~ **{noun}**; total = {price} (excl. VAT)
Hello @{first}, :+1: #{n} fixes #{n}{n}; cc @{first} — see [docs](/docs/{noun}#usage) & thanks!
### Changelog\r\n- fix: don't crash if list is empty\r\n- feat: select from {n} themes (`{colour}`)\r\n- docs: update table of contents
Title\r\n=====\r\n\r\nSome *text* with <b>bold</b> and a footnote[^1].\r\n\r\n[^1]: It's {n}/{n}.
Task list:\r\n- [x] order {noun}\r\n- [ ] drop {noun} at {street}\r\n- [ ] union meeting, {day}""".split("\n")
MARKDOWN = [line.replace("\\r\\n", "\r\n") for line in "\n".join(MARKDOWN).replace("\r\n", "\\r\\n").split("\n")]

HTML = """<p>Welcome to <strong>{company}</strong> &amp; friends. It's {day}!</p><ul><li>{noun}</li><li>{noun}</li></ul>
<h2>{noun} – {price}</h2><p class="lead">Don't miss it; <a href="https://example.org/{noun}" target="_blank" rel="noopener">more</a></p>
<!-- wp:paragraph --><p>We're open on {day} from 9 to 5.</p><!-- /wp:paragraph -->
<figure class="wp-block-image"><img src="/wp-content/uploads/2024/05/{noun}.jpg" alt="A {colour} {noun}"/></figure>
<table><tr><td>{noun}</td><td>{price}</td></tr></table><p style="text-align: center;">{first} &amp; {last}</p>
<blockquote><p>"{noun}s are great" &mdash; {first}</p></blockquote><p>&nbsp;</p><hr />""".split("\n")

QUERIES = """{noun} {colour}
{colour} {noun} under {price}
"{noun} with {noun}" or {noun}
how to fix a {noun}
what's the best {noun} for {n} people?
{noun} vs {noun}
{first} {last}
{last} {city}
union jack {noun}
select a {noun} from {city}
drop table leaf (folding)
order by phone {city}
table where 8 can sit
c++ tutorial
c# or java
.net developer jobs {city}
AT&T plans
rock & roll {noun}
{noun} -{noun} +{colour}
site:example.org {noun}
50% off {noun}
1 and 2 bedroom flats
{n} or {n} seater sofa
Ben & Jerry's
d'artagnan's {noun}
o'reilly books
"mad max" 2015
{noun}; {noun}; {noun}
{noun}, {noun} & {noun}
1/2" pipe
5'10" in cm
2+2=4
(2+3)*4
price < {n}
size > {n} and colour = {colour}
nike air max '97
{noun}?
"or" gate
insert {noun} manual
create table decorations
cat food
cat & dog {noun}
who am i quotes
ping pong table
host a party
sleep (7 hours) benefits
update delayed {city}
delete account
exec chair
net 30 terms
script writing course
javascript: the good parts
iframe meaning
alert (film) review
eval sheet template
java runtime download
echo dot
php jobs
null island
true crime podcast
find -x in algebra
and or not logic
having a baby
group by age kids' games
like '90s music
the load on error of scale
{city} to {city}
{city} hotel; {n} nights
wetter {city}
straße in {city}
größe {n} schuhe
fußball ergebnisse
günstige {noun} kaufen
wie geht's
红色 {noun}
北京 天气
手机 {price}
沙发 {colour}
どこ {city}
café à {city}
l'hôtel {city}
piñata
e=mc^2
[solved] {noun} doesn't start
{noun} (2019-2023)
{noun} #{n}
@{first}
{noun}*
~{n} km
{first}'s {noun}
100% cotton
a|b testing
7 & 8
<3
:)
c:\\ drive full
windows system32 what is
etc. meaning
/r/{noun}
../ meaning
root vegetables
admin jobs
passwd meaning
curl hair
wget meaning
bash script course""".split("\n")

PASSWORDS = """correct horse battery staple
P@ssw0rd!2024
Tr0ub4dor&3
x7#kL9$mQ2^v
it's-a-secret
"quoted"Pass1
a;b|c&d>e<f
gr8 'n' safe
<3hearts>4ever
%percent%20off
pass--word--1
S3lect*From
(parens)[brackets]{{braces}}
\\back\\slash/9
~tilde`tick
Über$icher#1
密码123!@#
1=1isTrue
O'Brien1979
$HOME-sweet-7
!!wow??
--dashes--
semi;colon;9
#hash#tag#1
a'b"c`d
100%Legit&Co
or1and2or3
;-) smile 9
dr0p.table.7
^caret^up^3""".split("\n")

CODE = """SELECT name, price FROM products WHERE price > 10 ORDER BY name;
How do I write SELECT * FROM a JOIN b ON a.id = b.id in Django?
```sql\\r\\nINSERT INTO users (name, email) VALUES ('Bob', 'b@example.org');\\r\\n```
for (let i = 0; i < n; i++) { console.log(`item ${i}`); }
<script src="https://cdn.example.org/lib.js"></script> doesn't load, why?
import os\\r\\nprint(os.environ.get("PATH"))
document.getElementById("a").innerHTML = "<b>hi</b>";
$ ls -la | grep txt && cat notes.txt
sudo apt-get install nginx; sudo systemctl restart nginx
curl -X POST https://api.example.org/v1/items -d '{"a":1}' | jq .
<?php echo htmlspecialchars($_GET['q']); ?>
try { x(); } catch (e) { alert(e.message); }
const fs = require('fs');\\r\\nfs.readFileSync('a.txt');
{% for item in items %}{{ item.name }}{% endfor %}
UPDATE t SET a = 1 WHERE b = 'x' AND c IS NOT NULL;
echo "$(date)" > /tmp/out.txt 2>&1
def f(x):\\r\\n    return x if x > 0 else -x
<img src="a.png" onerror="this.style.display='none'">
git commit -m "fix: don't crash"; git push origin main
x = [i for i in range(10) if i % 2 == 0]
public static void main(String[] args) { System.out.println("hi"); }
if [ -f /etc/hosts ]; then cat /etc/hosts; fi
docker run --rm -it -v $(pwd):/app node:20 bash
CREATE TABLE t (id INT PRIMARY KEY, name TEXT NOT NULL);
chmod +x run.sh && ./run.sh > log.txt
#include <stdio.h>\\r\\nint main(void) { printf("%d", 1); }
My query: select count(*) from orders where total between 1 and 5 group by city having count(*) > 2
window.location.href = '/login';
Get-ChildItem C:\\\\Temp | Where-Object { $_.Length -gt 1MB }
setTimeout(function () { location.reload(); }, 5000);""".split("\n")
CODE = [line.replace("\\r\\n", "\r\n") for line in CODE]

AGENTS = """Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15
Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1
Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.6422.165 Mobile Safari/537.36
Mozilla/5.0 (Linux; Android 13; SM-G991B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87
Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/125.0.6422.145 Mobile/15E148 Safari/604.1
Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0
Mozilla/5.0 (Linux; U; Android 10; zh-cn; MI 9 Build/QKQ1) AppleWebKit/537.36 Version/4.0 Chrome/89 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14""".split("\n")

APPS = """Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)
Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)
facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)
Twitterbot/1.0
Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)
Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)
DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0; +https://openai.com/gptbot)
WhatsApp/2.23.20.0 A
Shop/5.12.1 (com.example.shop; build:8841; iOS 17.4.1) Alamofire/5.8.1
okhttp/4.12.0
Dalvik/2.1.0 (Linux; U; Android 12; SM-A525F Build/SP1A.210812.016)
ExampleApp/3.2 (Android 14; Pixel 7; en_GB; 420dpi)
CFNetwork/1494.0.7 Darwin/23.4.0
Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 (KHTML, like Gecko) Version/6.0 TV Safari/538.1
UptimeRobot/2.0; http://www.uptimerobot.com/
Feedly/1.0 (+http://www.feedly.com/fetcher.html; 12 subscribers; like FeedFetcher-Google)
Apple-iPhone14C5/2003.61
Stripe/1.0 (+https://stripe.com/docs/webhooks)
GitHub-Hookshot/044aadd
Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)
iTunes/12.12 (Windows; Microsoft Windows 10 x64) AppleWebKit/7613
Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)
VLC/3.0.18 LibVLC/3.0.18
Prometheus/2.45.0
kube-probe/1.29
ELB-HealthChecker/2.0""".split("\n")
