cat {{ resources_["header"] }} > {{ product }}
cat {{ upstream["dump"] }} {{ upstream["moved"] }} >> {{ product }}
