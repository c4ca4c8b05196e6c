-- SPDX-License-Identifier: Apache-2.0
-- spread.lua - requests at random among so many paths or hosts, the same draws in every run.
-- usage: wrk -s spread.lua URL -- path|host COUNT
local DRAWS = 100000
local requests, draws, at = {}, {}, 0

function init(args)
    local form, count = args[1], tonumber(args[2])
    math.randomseed(42)
    for i = 0, count - 1 do
        if form == "host" then
            requests[i] = wrk.format("GET", "/1k", { Host = "h" .. i .. ".example" })
        else
            requests[i] = wrk.format("GET", "/p" .. i .. "/x")
        end
    end
    for d = 1, DRAWS do draws[d] = math.random(0, count - 1) end
end

function request()
    at = at % DRAWS + 1
    return requests[draws[at]]
end
