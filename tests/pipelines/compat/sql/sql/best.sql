DROP VIEW IF EXISTS {{ product }};

CREATE VIEW {{ product }} AS
SELECT shop, total FROM {{ upstream["by-shop"] }} ORDER BY total DESC, shop
