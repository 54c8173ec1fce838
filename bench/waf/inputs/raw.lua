-- Sends one of the requests beside this file, over and over:   wrk -s raw.lua http://HOST:PORT -- small_get.txt
--
-- A request is written with plain line ends. The lines of its body are joined without anything between them; the head
-- gets its CR LF and, with a body, Content-Length.

local function read_request(path)
    local file = assert(io.open(path, "r"))
    local text = file:read("*a")
    file:close()
    local head, body = text:match("^(.-)\n\n(.*)$")
    body = body:gsub("\n", "")
    head = head:gsub("\n", "\r\n")
    if #body > 0 then
        head = head .. "\r\nContent-Length: " .. #body
    end
    return head .. "\r\n\r\n" .. body
end

local bytes

function init(args)
    bytes = read_request(args[1])
end

function request()
    return bytes
end
