SELECT shop FROM {{ upstream["move"] }} ORDER BY shop
