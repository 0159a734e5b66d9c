import csv
import math


def measure(product, days):
    with open(product, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "degrees"])
        for day in range(days):
            writer.writerow([day, round(15 + 5 * math.sin(day))])
