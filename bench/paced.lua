-- SPDX-License-Identifier: Apache-2.0
-- paced.lua - wrk at a constant moderate load: each connection rests between two requests.
function delay()
    return 20
end
