-- SPDX-License-Identifier: Apache-2.0
-- zipf.lua - requests for 100,000 objects by Zipf's law (0.9), the same draws in every run.
local OBJECTS, DRAWS, EXPONENT = 100000, 150000, 0.9
local requests, draws, at = {}, {}, 0

function init()
    math.randomseed(42)
    local sums, sum = {}, 0
    for i = 1, OBJECTS do
        sum = sum + 1 / i ^ EXPONENT
        sums[i] = sum
    end
    for i = 0, OBJECTS - 1 do
        requests[i] = wrk.format("GET", string.format("/h/%06d", i))
    end
    for d = 1, DRAWS do
        local x, low, high = math.random() * sum, 1, OBJECTS
        while low < high do
            local middle = math.floor((low + high) / 2)
            if sums[middle] < x then low = middle + 1 else high = middle end
        end
        draws[d] = (low * 7919) % OBJECTS -- ranks scattered over the names
    end
end

function request()
    at = at % DRAWS + 1
    return requests[draws[at]]
end
