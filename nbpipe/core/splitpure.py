"""Methods that are known not to change their object, and those that are known to.

Any other method may change its object: then its section hands the object on, which is always
right, but makes later sections wait for it.
"""

from __future__ import annotations

PURE = frozenset(
    # text, bytes, containers
    "capitalize casefold center count decode encode endswith expandtabs find format format_map "  # noqa: SIM905
    "index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isspace "
    "istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind "
    "rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title "
    "translate upper zfill copy get items keys values union intersection difference issubset "
    "issuperset isdisjoint symmetric_difference most_common elements bit_length "
    # numpy, pandas
    "abs add_prefix add_suffix agg aggregate all any argmax argmin argsort asfreq assign astype "
    "at_time between bfill clip combine_first corr corrwith cov cummax cummin cumprod cumsum "
    "describe diff dot drop drop_duplicates dropna duplicated eq equals explode ewm expanding "
    "ffill fillna filter first flatten floordiv ge groupby gt head hist idxmax idxmin info "
    "interpolate isin isna isnull iterrows itertuples join kurt last le lt mad map max mean "
    "median melt memory_usage merge min mod mode mul ne ngroups nlargest notna notnull nsmallest "
    "nunique pct_change pivot pivot_table plot pow prod quantile query rank ravel reindex rename "
    "repeat resample reset_index reshape rolling round select_dtypes sem set_index shift "
    "size skew sort_index sort_values squeeze stack std sub sum swapaxes tail take to_csv to_dict "
    "to_excel to_frame to_html to_json to_list to_markdown to_numpy to_parquet to_pickle "
    "to_string tolist total_seconds transform transpose truediv tz_convert tz_localize unique "
    "unstack value_counts var where xs nonzero trace isoformat strftime timestamp date time "
    "contains extract day_name month_name bar barh box line pie scatter kde area cat "
    # models once they are fitted, paths, patterns
    "predict predict_proba predict_log_proba decision_function score score_samples get_params "
    "exists is_dir is_file read_bytes read_text with_name with_suffix as_posix glob match search "
    "fullmatch findall sub finditer group groups".split()
)

CHANGING = frozenset(
    "append appendleft extend extendleft insert add update setdefault push put put_nowait".split()  # noqa: SIM905
)
"""Methods that put what they are given into their object."""

DRAWING = frozenset("plot hist bar barh box line pie scatter area".split())  # noqa: SIM905
"""Pure in pandas; in matplotlib they draw on their object."""
