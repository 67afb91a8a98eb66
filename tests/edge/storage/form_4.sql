PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE batches (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        batch_id TEXT UNIQUE NOT NULL,
        episode  TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged')),
        crc      INTEGER NOT NULL
    );
INSERT INTO "batches" VALUES(1,'first','2006',700,'acknowledged',4236108540);
INSERT INTO "batches" VALUES(2,'second','2006',500,'prepared',1522630687);
CREATE TABLE boots (
        boot      INTEGER PRIMARY KEY AUTOINCREMENT,
        boot_id   TEXT UNIQUE NOT NULL,
        first_utc TEXT NOT NULL,
        crc       INTEGER NOT NULL
    );
INSERT INTO "boots" VALUES(1,'bbbbbbbb','2026-05-01T06:00:00Z',2469213562);
CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        kind     TEXT NOT NULL,
        boot     INTEGER,
        time_utc TEXT NOT NULL,
        last_utc TEXT NOT NULL,
        times    INTEGER NOT NULL DEFAULT 1,
        crc      INTEGER NOT NULL,
        text     TEXT NOT NULL,
        body     TEXT NOT NULL
    );
INSERT INTO "events" VALUES(1,'model',1,'2026-05-01T06:00:00Z','2026-05-01T06:00:00Z',1,1798575466,'model 7 (int8) is in use from now on','{}');
CREATE TABLE origins (
        origin INTEGER PRIMARY KEY AUTOINCREMENT,
        name   TEXT NOT NULL,
        crc    INTEGER NOT NULL,
        UNIQUE (name, crc)
    );
INSERT INTO "origins" VALUES(1,'station',1496695032);
CREATE TABLE records (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id  TEXT UNIQUE NOT NULL,
        episode    TEXT NOT NULL,
        table_name TEXT NOT NULL,
        date       TEXT NOT NULL,
        state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
        batch_id   TEXT,
        bytes      INTEGER NOT NULL,
        boot       INTEGER,
        stored_utc TEXT,
        is_time_trusted INTEGER NOT NULL DEFAULT 0,
        merit      REAL,
        crc        INTEGER NOT NULL,
        flags      TEXT,
        body       TEXT NOT NULL
    );
INSERT INTO "records" VALUES(1,'2006/champion-00/fields','2006','fields','2006-05-01','stored',NULL,523,1,'2026-05-01T06:00:00Z',1,NULL,2668124520,NULL,'{"record_id":"2006/champion-00/fields","season":2006,"region":"champion","field_id":"champion-00","device_id":"dev-00","crop":"maize","soil":"SandyLoam","planting_date":"2006-05-01","field_capacity_m3_m3":0.22,"wilting_point_m3_m3":0.1,"saturation_m3_m3":0.41,"root_depth_max_m":1.5,"initial_water_pct":null,"application_efficiency":1.0,"irrigation_capacity_mm":25.0,"water_allowance_mm":400.0,"grain_price_usd_t":180.0,"water_price_usd_mm":1.0,"nitrogen_price_usd_kg":1.0,"fixed_cost_usd_ha":1728.0,"practice":"fieldloop"}');
INSERT INTO "records" VALUES(2,'2006/champion-00/readings/2006-05-01','2006','readings','2006-05-01','acknowledged','first',306,1,'2026-05-01T06:00:00Z',1,NULL,1553708466,NULL,'{"record_id":"2006/champion-00/readings/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","tmin_c":16.44,"tmax_c":28.2,"rain_mm":0.0,"et0_mm":6.79,"vwc_15cm_m3_m3":0.1977,"vwc_35cm_m3_m3":0.2164,"vwc_75cm_m3_m3":null,"vwc_105cm_m3_m3":0.218,"ndvi":null,"ndre":null}');
INSERT INTO "records" VALUES(3,'2006/champion-00/recommendations/2006-05-01','2006','recommendations','2006-05-01','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,NULL,217206643,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","said":"Größe"}');
INSERT INTO "records" VALUES(4,'2006/champion-00/readings/2006-05-02','2006','readings','2006-05-02','acknowledged','first',310,1,'2026-05-01T06:00:00Z',1,NULL,747000392,NULL,'{"record_id":"2006/champion-00/readings/2006-05-02","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-02","tmin_c":14.35,"tmax_c":27.28,"rain_mm":0.0,"et0_mm":6.66,"vwc_15cm_m3_m3":0.1959,"vwc_35cm_m3_m3":0.2091,"vwc_75cm_m3_m3":0.2248,"vwc_105cm_m3_m3":0.2186,"ndvi":null,"ndre":null}');
INSERT INTO "records" VALUES(5,'2006/champion-00/recommendations/2006-05-02','2006','recommendations','2006-05-02','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,0.5,544859366,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-02","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-02","said":"Größe"}');
INSERT INTO "records" VALUES(6,'2006/champion-00/readings/2006-05-03','2006','readings','2006-05-03','selected','second',310,1,'2026-05-01T06:00:00Z',1,NULL,3314826314,'{"tmin_c":"spike"}','{"record_id":"2006/champion-00/readings/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","tmin_c":16.84,"tmax_c":30.45,"rain_mm":0.0,"et0_mm":6.94,"vwc_15cm_m3_m3":0.1934,"vwc_35cm_m3_m3":0.2094,"vwc_75cm_m3_m3":0.2274,"vwc_105cm_m3_m3":0.2116,"ndvi":null,"ndre":null}');
INSERT INTO "records" VALUES(7,'2006/champion-00/recommendations/2006-05-03','2006','recommendations','2006-05-03','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,NULL,3326172466,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","said":"Größe"}');
INSERT INTO "records" VALUES(8,'2006/champion-00/readings/2006-05-04','2006','readings','2006-05-04','selected','second',310,1,'2026-05-01T06:00:00Z',1,NULL,3039697777,NULL,'{"record_id":"2006/champion-00/readings/2006-05-04","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-04","tmin_c":13.87,"tmax_c":29.39,"rain_mm":1.8,"et0_mm":7.07,"vwc_15cm_m3_m3":0.1978,"vwc_35cm_m3_m3":0.2122,"vwc_75cm_m3_m3":0.2201,"vwc_105cm_m3_m3":0.2237,"ndvi":null,"ndre":null}');
INSERT INTO "records" VALUES(9,'2006/champion-00/recommendations/2006-05-04','2006','recommendations','2006-05-04','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,1.5,249020432,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-04","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-04","said":"Größe"}');
INSERT INTO "records" VALUES(10,'2006/champion-00/readings/2006-05-05','2006','readings','2006-05-05','stored',NULL,309,1,'2026-05-01T06:00:00Z',1,NULL,3012362152,NULL,'{"record_id":"2006/champion-00/readings/2006-05-05","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-05","tmin_c":15.01,"tmax_c":27.61,"rain_mm":0.0,"et0_mm":6.53,"vwc_15cm_m3_m3":0.196,"vwc_35cm_m3_m3":0.2085,"vwc_75cm_m3_m3":0.2187,"vwc_105cm_m3_m3":0.2272,"ndvi":null,"ndre":null}');
INSERT INTO "records" VALUES(11,'2006/champion-00/recommendations/2006-05-05','2006','recommendations','2006-05-05','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,NULL,1122332080,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-05","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-05","said":"Größe"}');
INSERT INTO "records" VALUES(12,'2006/champion-00/readings/2006-05-06','2006','readings','2006-05-06','stored',NULL,310,1,'2026-05-01T06:00:00Z',1,NULL,4023798981,NULL,'{"record_id":"2006/champion-00/readings/2006-05-06","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-06","tmin_c":13.8,"tmax_c":31.22,"rain_mm":17.0,"et0_mm":5.39,"vwc_15cm_m3_m3":0.1988,"vwc_35cm_m3_m3":0.2106,"vwc_75cm_m3_m3":0.218,"vwc_105cm_m3_m3":0.2139,"ndvi":0.18,"ndre":0.115}');
INSERT INTO "records" VALUES(13,'2006/champion-00/recommendations/2006-05-06','2006','recommendations','2006-05-06','stored',NULL,155,1,'2026-05-01T06:00:00Z',1,2.5,373996534,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-06","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-06","said":"Größe"}');
CREATE TABLE rejects (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        reject_id  TEXT UNIQUE NOT NULL,
        repeats    INTEGER NOT NULL DEFAULT 0,
        boot       INTEGER,
        stored_utc TEXT,
        crc        INTEGER NOT NULL,
        where_     TEXT NOT NULL,
        error      TEXT NOT NULL,
        body       TEXT NOT NULL
    );
INSERT INTO "rejects" VALUES(1,'9753caa7694b07040e17a95220c5fd190e01ef7c448c1390fea1de5028f3b530',0,1,'2026-05-01T06:00:00Z',2230074467,'line 3','not JSON','{');
CREATE TABLE samples (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        origin   INTEGER NOT NULL,
        time_utc TEXT NOT NULL, -- by time as a text: 12:15:00Z, 12:15:00Z.5, 12:15:01Z
        body     TEXT NOT NULL,
        flags    TEXT NOT NULL,
        boot     INTEGER,
        crc      INTEGER NOT NULL,
        UNIQUE (time_utc, origin)
    );
INSERT INTO "samples" VALUES(1,1,'2026-05-01T05:15:00Z.5','{"rain_mm":0.2}','',1,15419839);
INSERT INTO "samples" VALUES(2,1,'2026-05-01T05:30:00Z','{"rain_mm":9.0}','{"rain_mm":"spike"}',1,1937014612);
CREATE INDEX records_by_episode ON records (episode, table_name, date);
CREATE INDEX records_by_batch ON records (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('boots',1);
INSERT INTO "sqlite_sequence" VALUES('records',13);
INSERT INTO "sqlite_sequence" VALUES('batches',2);
INSERT INTO "sqlite_sequence" VALUES('rejects',1);
INSERT INTO "sqlite_sequence" VALUES('origins',1);
INSERT INTO "sqlite_sequence" VALUES('samples',2);
INSERT INTO "sqlite_sequence" VALUES('events',1);
COMMIT;
PRAGMA user_version = 4;
PRAGMA application_id = 1178927108;
