SELECT * FROM {{ upstream["best"] }}
