-- what each shop has sold
DROP TABLE IF EXISTS {{ product }};

CREATE TABLE {{ product.name }} AS
SELECT shop, SUM(price) AS total
FROM {{ upstream["upload"] }}
GROUP BY shop
HAVING total >= {{ least }}
